# Completion of rafiki for fish (3.0 or newer).
function __rafiki_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -l reply (_RAFIKI_COMPLETE=fish command $words[1] $words[2..-1] "$token" 2>/dev/null)
    if test "$reply[1]" = files
        __fish_complete_path "$token"
    else if test "$reply[1]" = values
        string join \n -- $reply[2..-1]
    end
end
complete -c rafiki -f -a '(__rafiki_complete)'
