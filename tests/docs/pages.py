# SPDX-License-Identifier: Apache-2.0
"""The Markdown pages of the repository and the blocks of code in them: what readme.py judges and run_page.py runs."""
import dataclasses
import os
import re
import shlex

FENCE = re.compile(r"^( *)(```+|:::+)(.*)$")


@dataclasses.dataclass
class Block:
    line: int  # of the fence, from 1
    kind: str  # what stands after the fence; "indented" for a block that has none
    text: str
    options: dict  # of a directive
    file: str = ""  # the name that a comment before it gives: "file: NAME" or "run: NAME"


@dataclasses.dataclass
class Stop:
    """A comment that says that the reader has now ended what he started."""
    line: int


def markdown_files(root):
    """Every page, by its path from the root."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".")
                            and name not in ("build", "dist", "node_modules", "__pycache__"))
        found += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(files) if name.endswith(".md")]
    return found


def blocks(text):
    """The blocks of a page, and the stops, in their order."""
    found, fences, file, in_list, before = [], [], "", False, ""
    for number, line in enumerate(text.split("\n"), 1):
        fence = FENCE.match(line)
        if fences and fences[-1].kind != "container":
            block, marker, indent = fences[-1], fences[-1].marker, fences[-1].indent
            if fence and fence[2].startswith(marker) and not fence[3].strip():
                fences.pop()
                block.text = "\n".join(block.lines)
                found.append(block)
            else:
                option = re.match(r"\s*:([\w-]+):\s*(.*)$", line)
                if block.kind.startswith("{") and option and not block.lines:
                    block.options[option[1]] = option[2]
                else:
                    block.lines.append(line[indent:])
            continue
        if fence and fence[2][0] == ":":
            if fence[3].strip():
                container = Block(number, "container", "", {})
                fences.append(container)
            elif fences:
                fences.pop()
        elif fence:
            block = Block(number, fence[3].strip(), "", {}, file)
            block.lines, block.marker, block.indent = [], fence[2], len(fence[1])
            fences.append(block)
            file = ""
        elif comment := re.match(r"^<!-- (?:file|run): (\S+) -->$", line):
            file = comment[1]
        elif line == "<!-- stop -->":
            found.append(Stop(number))
        elif line.strip():
            in_list = bool(re.match(r"\s*([-*]|\d+\.) ", line)) or (in_list and line.startswith(" "))
            if not before.strip() and line.startswith("      " if in_list else "    "):
                found.append(Block(number, "indented", line, {}))
        before = line
    for block in fences:
        found.append(Block(block.line, "unfinished", "", {}))
    return found


@dataclasses.dataclass
class Command:
    line: int
    text: str
    output: list


def commands(block):
    """The commands of a console block, each with the lines that it is said to print."""
    found = []
    for number, line in enumerate(block.text.split("\n"), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line[2:], []))
        elif found and found[-1].text.endswith("\\"):
            found[-1].text = found[-1].text[:-1] + line.strip()
        elif found:
            found[-1].output.append(line)
        elif line.strip():
            found.append(Command(number, "", [line]))  # a block begins with a command
    return found


def words(command):
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return []


# What builds, tests or measures the tree itself, or sets up the machine: not run again, but looked at.
ABOUT_THE_TREE = re.compile(r"^(make|cmake|ctest|git|sudo|apt-get|pip|\.ci/\S+|tests/\S+|benchmarks/\S+|python3"
                            r"|build/\w+/(tests|benchmarks)/\S+|[A-Z]+=build/\S+|\$[A-Z]+)$")


def is_about_the_tree(command):
    said = words(command)
    if said[:1] == ["python3"]:
        return not any(word.startswith("examples/") for word in said)
    return bool(said) and bool(ABOUT_THE_TREE.match(said[0]))
