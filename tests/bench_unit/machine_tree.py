"""Machines on disk: trees of ``machines/*.txt``, and programs that answer as a board's do."""

from __future__ import annotations

from pathlib import Path

MACHINES = Path(__file__).parent / "machines"
PMIC = """ 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.06000000A
  VDD_CORE_A current(7)=2.00000000A
   NO_VOLT_A current(9)=9.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.09066000V
      BATT_V volt(25)=0.00000000V
"""
PMIC_WATTS = 0.1 * 3.7 + 0.06 * 3.3 + 2 * 0.8
NVPMODEL = "NV Power Mode: MAXN_SUPER\n2\n"


def unfold(machine: str, root: Path) -> Path:
    """Write the tree of ``machines/<machine>.txt`` below ``root``; see the README there."""
    for line in (MACHINES / f"{machine}.txt").read_text().splitlines():
        if " -> " in line:
            name, target = line.split(" -> ")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(target)
        elif line.endswith(" !"):
            (root / line[:-2]).mkdir(parents=True)  # reading a folder fails, for root as well
        else:
            name, content = line.split(" = ", 1)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            for escape, value in (("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0")):
                content = content.replace(escape, value)
            (root / name).write_text(content)
    return root


def program(folder: Path, name: str, script: str) -> None:
    """An executable shell script in ``folder``."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def vcgencmd(folder: Path, throttled: str = "0x0") -> None:
    """The firmware tool of a Raspberry Pi 5."""
    answers = f"pmic_read_adc) cat <<'END'\n{PMIC}END\n;;\nget_throttled) echo throttled={throttled};;\n*) exit 1;;"
    program(folder, "vcgencmd", f"case $1 in\n{answers}\nesac")


def tegrastats(folder: Path, rails: str) -> None:
    """NVIDIA's monitor, one line every 50 ms."""
    line = (
        "11-25-2026 09:00:00 RAM 3276/7620MB (lfb 5x4MB) SWAP 0/3810MB (cached 0MB) CPU [12%@1728,off] "
        f"EMC_FREQ 0%@2133 GR3D_FREQ 76%@[1015] cpu@48.125C tj@48.125C {rails}"
    )
    program(folder, "tegrastats", f"while :; do echo '{line}'; sleep 0.05; done")
