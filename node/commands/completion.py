"""`completion`: what bash or zsh is to offer after `scribe-node`, made from the parsers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BASH = """\
_scribe_node() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= offered= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in {commands}) command=${{COMP_WORDS[i]}}; break ;; esac
    done
    case "$command $before" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$word"))
}}
complete -F _scribe_node scribe-node
"""

BASH_FILES = "COMPREPLY=(); compopt -o default; return"
BASH_WORDS = "offered={words}"
BASH_BOTH = "[[ $word == -* ]] || { COMPREPLY=(); compopt -o default; return; }; "

ZSH = """\
#compdef scribe-node
_scribe_node() {{
    local before=$words[CURRENT-1] command= i
    local -a offered
    for ((i = 2; i < CURRENT; i++)); do
        case $words[i] in {commands}) command=$words[i]; break ;; esac
    done
    case "$command $before" in
{cases}
    esac
    compadd -- $offered
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
compdef _scribe_node scribe-node
"""

ZSH_FILES = "_files; return"
ZSH_WORDS = "offered=({words})"
ZSH_BOTH = "[[ $PREFIX == -* ]] || { _files; return; }; "


class Shell(NamedTuple):
    """How a shell writes the function, and its three kinds of answers."""

    script: str
    files: str
    words: str
    files_unless_option: str


SHELLS = {
    "bash": Shell(BASH, BASH_FILES, BASH_WORDS, BASH_BOTH),
    "zsh": Shell(ZSH, ZSH_FILES, ZSH_WORDS, ZSH_BOTH),
}


def run(arguments: argparse.Namespace) -> int:
    """Print the script for a shell."""
    print(script(arguments.shell, arguments.parser, arguments.commands), end="")
    return 0


def script(
    shell: str,
    parser: Sequence[argparse.Action],
    commands: Mapping[str, Sequence[argparse.Action]],
) -> str:
    """Return the script for a shell.

    Args:
        shell: one of `SHELLS`.
        parser: the arguments before the command.
        commands: the arguments of each command.
    """
    style = SHELLS[shell]
    cases = [case for name, actions in commands.items() for case in _cases(style, name, actions)]
    offered = _words(style, [*commands, *_options(parser)])
    return style.script.format(
        commands="|".join(commands), cases="\n".join([*cases, _case("*", offered)])
    )


def _cases(style: Shell, command: str, actions: Iterable[argparse.Action]) -> Iterator[str]:
    """Yield what follows each option of a command that takes a value, then what else it takes."""
    actions = list(actions)
    for action in actions:
        if action.option_strings and action.nargs != 0:
            patterns = "|".join(shlex.quote(f"{command} {name}") for name in action.option_strings)
            yield _case(patterns, _value(style, action))
    positional = [action for action in actions if not action.option_strings]
    choices = [choice for action in positional for choice in action.choices or ()]
    offered = _words(style, [*choices, *_options(actions)])
    if any(action.type is Path for action in positional):
        offered = style.files_unless_option + offered
    yield _case(f'"{command} "*', offered)


def _value(style: Shell, action: argparse.Action) -> str:
    if action.type is Path:
        return style.files
    return _words(style, [str(choice) for choice in action.choices or ()])


def _options(actions: Iterable[argparse.Action]) -> list[str]:
    return [name for action in actions for name in action.option_strings]


def _words(style: Shell, words: Sequence[str]) -> str:
    plain = " ".join(words)
    return style.words.format(words=shlex.quote(plain) if style is SHELLS["bash"] else plain)


def _case(pattern: str, answer: str) -> str:
    return f"        {pattern}) {answer} ;;"
