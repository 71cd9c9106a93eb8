# Completion of rafiki for bash (4.0 or newer).
_rafiki_completion() {
    local -a reply
    mapfile -t reply < <(
        _RAFIKI_COMPLETE=bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
            COMP_WORDBREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null
    )
    COMPREPLY=()
    if [[ ${reply[0]} == files ]]; then
        compopt -o default
    elif [[ ${reply[0]} == values ]]; then
        COMPREPLY=("${reply[@]:1}")
    fi
}
complete -F _rafiki_completion rafiki
