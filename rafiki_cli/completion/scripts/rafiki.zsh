#compdef rafiki
# Completion of rafiki for zsh.
_rafiki() {
    local -a reply items
    local line value
    reply=("${(@f)$(_RAFIKI_COMPLETE=zsh "${(Q)words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ $reply[1] == files ]]; then
        _files
    elif [[ $reply[1] == values ]]; then
        for line in "${(@)reply[2,-1]}"; do
            value=${line%%$'\t'*}
            items+=("${value//:/\\:}:${line#*$'\t'}")
        done
        _describe -t values rafiki items
    fi
}
if ! (( $+functions[compdef] )); then
    autoload -Uz compinit && compinit -i
fi
if [[ $funcstack[1] == _rafiki ]]; then
    _rafiki "$@"
else
    compdef _rafiki rafiki
fi
