"""A Slurm cluster of one node on this machine, whose processors, memory and GPUs are only counted."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.services.servers import Server, answers, free_port, program, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "squeue", "scontrol", "sinfo")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
# Only on the loopback.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# A cluster's node, whatever this machine has: jobs ask as they do there.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=256000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
ReturnToService=2
KillWait=30
# Jobs that have ended are shown so long: Snakemake asks squeue, as there is no database of jobs.
MinJobAge=300
"""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster while the block runs; yields the environment in which its commands find it."""
    folder.mkdir(parents=True)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    ports = {"controller": free_port(), "daemon": free_port()}
    user = pwd.getpwuid(os.geteuid()).pw_name
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, user=user, **ports))
    for number in range(2):
        (folder / f"gpu{number}").touch()  # any file passes for a device
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    # Snakemake removes Slurm's variables within a job, and with them the way to this configuration.
    found = folder / "bin" / "srun"
    found.parent.mkdir()
    found.write_text(f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec {program("srun")} "$@"\n')
    found.chmod(0o755)
    path = f"{found.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    munge = [
        *(str(program("munged")), "--foreground", "--force", f"--socket={folder}/munge/socket"),
        *(f"--{kind}-file={folder}/munge/{kind}" for kind in ("key", "log", "pid", "seed")),
    ]
    with ExitStack() as ended:
        ended.callback(end_processes, str(found.parent))

        def started(command: list[str], name: str) -> Server:
            server = Server(command, folder / f"{name}.log", environment)
            ended.callback(server.stop)
            return server

        started(munge, "munged").start((folder / "munge" / "socket").exists)
        controller = started([str(program("slurmctld")), "-D"], "slurmctld")
        controller.start(lambda: answers(ports["controller"]))
        started([str(program("slurmd")), "-D", "-N", host], "slurmd").start(lambda: state(environment) == "idle")
        ended.callback(end_jobs, environment)
        yield environment


def end_jobs(environment: dict[str, str]) -> None:
    """Jobs outlive Slurm's daemons: kill those that are left."""

    def said(*command: str) -> str:
        return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True).stdout

    for number in said("squeue", "--noheader", "--format=%i").split():
        said("scancel", "--full", "--signal=KILL", number)
    until(lambda: not said("squeue", "--noheader", "--format=%i").split(), "all jobs have ended", seconds=90)


def end_processes(path: str) -> None:
    """Kill what has outlived its job, of which Slurm knows nothing: all that has a folder in its search path."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if path in process.environ().get("PATH", ""):
                process.kill()


def state(environment: dict[str, str]) -> str:
    """What the node does: idle, mixed, allocated, down, ..."""
    command = [str(shutil.which("sinfo")), "--noheader", "--format=%T"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return done.stdout.strip()
