# shellcheck shell=bash
#
# Completion for the command `intermission`. Source it, or install it under the command's name:
#
#     install -m 644 scripts/intermission.bash /usr/share/bash-completion/completions/intermission
#
# What there is to complete is taken from the help texts of the command itself.

_intermission() {
    local words current action line=${COMP_LINE:0:COMP_POINT}
    # Bash's own COMP_WORDS are broken up at the colons of an address.
    read -ra words <<<"$line"
    [[ $line != *[[:blank:]] ]] || words+=('')
    current=${words[-1]}
    action=${words[1]:-}
    COMPREPLY=()

    if ((${#words[@]} == 2)) || [[ $action == help ]]; then
        ((${#words[@]} > 3)) ||
            mapfile -t COMPREPLY < <(compgen -W "$(_intermission_actions) --help" -- "$current")
        return
    fi

    # What came before the current word: options, their values, and for `run` the command.
    local i value=''
    for ((i = 2; i < ${#words[@]} - 1; i++)); do
        if [[ -n $value ]]; then
            value=''
        elif [[ ${words[i]} == -- ]]; then
            ((i++))
            break
        elif [[ ${words[i]} == --*=* ]]; then
            :
        elif [[ ${words[i]} == --* ]]; then
            value=$(_intermission_options "$action" | sed -n "s/^${words[i]} //p")
        else
            break
        fi
    done

    if [[ -n $value ]]; then
        compopt +o default 2>/dev/null
    elif ((i < ${#words[@]} - 1)); then
        : # the command's own arguments: file names, by default
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_intermission_options "$action" | cut -d ' ' -f 1) --help" -- "$current")
    elif [[ $action == run ]]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
    fi
}

_intermission_actions() { "${COMP_WORDS[0]}" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'; }

# Each on a line, with a word for its value if it takes one.
_intermission_options() {
    "${COMP_WORDS[0]}" "$1" --help 2>/dev/null | sed -n '/^options:/,/^$/s/^  \(--[a-z-]*\( [A-Z]*\)\{0,1\}\).*/\1/p'
}

complete -o default -F _intermission intermission
