"""One container's life: pull, configure, start, probe, end, start again by the restart policy.

`Container.run` is the whole life; `Container.stop` ends it. What it learns goes into its record, and the pod is told.
"""

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import replace

from localcluster import processes
from localcluster.kubelet import probes
from localcluster.kubelet.api import FAILURES, ApiError, Object
from localcluster.kubelet.contract import Files, Host
from localcluster.kubelet.environment import BadConfig
from localcluster.kubelet.images import UnknownImage
from localcluster.kubelet.records import Record, new_id
from localcluster.kubelet.runtime import Launch, Process, marker
from localcluster.kubelet.termination import last_words

_IMAGE_POLL_SECONDS = 0.5
_CONFIG_RETRY_SECONDS = 1.0
_BACKOFF_LIMIT_SECONDS = 300.0
_BACKOFF_RESET_SECONDS = 600.0
_HOOK_CHECK_SECONDS = 0.1
LEAST_GRACE_SECONDS = 2.0  # minimumGracePeriodInSeconds of pkg/kubelet/kuberuntime (1.34)
_KILLED = 137
_START_ERROR = 128

log = logging.getLogger("kubelet.container")


class Container:
    """One container of one pod."""

    def __init__(self, host: Host, spec: Object, files: Files, *, is_init: bool) -> None:
        self.spec = spec
        self.files = files
        self.record = Record.load(files.record)
        self._recall(host.object)
        self._host = host
        self._is_init = is_init
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._process = self._adopt()
        self._launched: Launch | None = None
        self._forced_code: int | None = None
        self._backoff = 0.0

    def _recall(self, pod: Object) -> None:
        """Take readiness over from what an earlier kubelet reported, so that a restart does not make pods unready."""
        for entry in pod.get("status", {}).get("containerStatuses", []):
            if entry.get("containerID") == f"localcluster://{self.record.container_id}":
                self.record.is_ready, self.record.is_started = entry["ready"], bool(entry.get("started"))

    def _adopt(self) -> Process | None:
        """The process of an earlier kubelet, whether it still runs or ended meanwhile."""
        identity = processes.read_identity(self.files.identity)
        if identity is None or self.record.ended is not None:
            return None
        return Process.adopt(identity, marker(self.record.container_id))

    @property
    def is_adopted(self) -> bool:
        """Whether it has a process though nothing was started yet."""
        return self._process is not None and self._launched is None

    @property
    def _policy(self) -> str:
        policy = str(self._host.object["spec"].get("restartPolicy", "Always"))
        return "OnFailure" if self._is_init and policy == "Always" else policy

    async def run(self) -> bool:
        """Live until nothing will be started again.

        Returns:
            Whether the last execution ended well.
        """
        if self._process:
            self._launched = Launch.load(self.files.launch)
            await self._watch(self._process)
        while not self._is_stopping and self._should_start():
            await self._pause_before_restart()
            if process := await self._start():
                await self._watch(process)
        return self.record.ended is not None and self.record.ended.exit_code == 0

    def _should_start(self) -> bool:
        ended = self.record.ended
        if ended is None:
            return True
        return self._policy == "Always" or (self._policy == "OnFailure" and ended.exit_code != 0)

    async def _pause_before_restart(self) -> None:
        """The first restart is at once; then 10 s, 20 s, ... up to 5 minutes, as a real kubelet."""
        if self.record.ended is None:
            return
        pause, self._backoff = (
            self._backoff,
            min(max(self._backoff * 2, self._host.backoff_seconds), _BACKOFF_LIMIT_SECONDS),
        )
        if pause:
            self._wait_for("CrashLoopBackOff", f"back-off {pause:.0f}s restarting failed container={self.spec['name']}")
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until it is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _wait_for(self, reason: str, message: str = "") -> None:
        """Show the container as waiting."""
        self.record.waiting = (reason, message)
        self._host.touch()

    async def _start(self) -> Process | None:
        """Start an execution; None when it was stopped before, or ended before it began."""
        await self._host.speaking.wait()
        if not await self._pull():
            return None
        container_id = new_id()
        launch = await self._configure(container_id, self.record.restarts + (self.record.ended is not None))
        if launch is None or self._is_stopping:
            return None
        self._launched = launch
        launch.save(self.files.launch)
        self.record.begin(container_id, self.spec["image"])
        self.record.save(self.files.record)
        try:
            return self._spawn(launch)
        except OSError as err:
            self._finish(_START_ERROR, "StartError", f"cannot start the command: {err}")
            return None

    def _spawn(self, launch: Launch) -> Process:
        """Start the process and record it; one that misbehaves by exit=CODE never runs its command."""
        self.files.message.write_bytes(b"")
        if (code := self._asked_code()) is not None:
            launch = replace(launch, argv=["/bin/sh", "-c", f"exit {code}"])
        return Process.spawn(launch)

    def _asked_code(self) -> int | None:
        """The CODE of exit=CODE, when the pod asks for it."""
        name, _, code = self._host.misbehaviour().partition("=")
        return int(code) if name == "exit" and code.isdecimal() and not self._is_init else None

    async def _pull(self) -> bool:
        """Wait until the image is there; False when the container is to stop."""
        pause, until = 0.0, 0.0
        while not self._is_stopping:
            seen = self._sources()
            try:
                self._find_image()
            except UnknownImage as err:
                self._wait_for("ErrImagePull", str(err))
                pause = min(pause * 2 or self._host.backoff_seconds, _BACKOFF_LIMIT_SECONDS)
                until = time.monotonic() + pause
                await self._pause(_IMAGE_POLL_SECONDS)
                self._wait_for("ImagePullBackOff", f'Back-off pulling image "{self.spec["image"]}": {err}')
                while time.monotonic() < until and self._sources() == seen and not self._is_stopping:
                    await self._pause(_IMAGE_POLL_SECONDS)
            else:
                return True
        return False

    def _sources(self) -> tuple[object, str]:
        """What a pull's outcome depends on: it is tried again at once when this changes."""
        return self._host.images.version(), self._host.misbehaviour()

    def _find_image(self) -> None:
        if self._host.misbehaviour() == "image-not-found":
            raise UnknownImage(f'failed to pull "{self.spec["image"]}": not found: the pod asked for this misbehaviour')
        self._host.images.find(self.spec["image"])

    async def _configure(self, container_id: str, restarts: int) -> Launch | None:
        """Wait until environment and paths are there; None when the container is to stop."""
        while not self._is_stopping:
            try:
                return await self._host.launch(self.spec, self.files, container_id, restarts)
            except (BadConfig, UnknownImage) as err:
                self._wait_for("CreateContainerConfigError", str(err))
            except (ApiError, *FAILURES) as err:
                log.warning("cannot configure container %s: %r", self.spec["name"], err)
            await self._pause(_CONFIG_RETRY_SECONDS)
        return None

    async def _watch(self, process: Process) -> None:
        """From start to end of one execution."""
        processes.write_identity(self.files.identity, process.identity)
        self.files.pid.write_text(f"{process.identity.pid}\n")
        self._process = process
        began = time.monotonic()
        self.record.waiting = None
        self._host.touch()
        self.misbehave()
        prober = self._probe()
        await process.wait()
        if prober:
            prober.cancel()
        await process.sweep()
        await self._host.speaking.wait()
        self._process = None
        self._record_end(process.exit_code.result())
        if time.monotonic() - began > _BACKOFF_RESET_SECONDS:
            self._backoff = 0.0

    def _probe(self) -> asyncio.Task[None] | None:
        """Start probing; init containers and those about to stop are not probed."""
        if self._is_init or self._launched is None:
            return None
        return asyncio.create_task(probes.run(self.spec, self._host.address, self._launched, self))

    def _record_end(self, code: int | None) -> None:
        """Record how the execution ended."""
        forced, self._forced_code = self._forced_code, None
        if forced is not None:
            code = forced
        if code is None:
            lost = "The container ended while no kubelet watched; its exit code is not known"
            self._finish(_KILLED, "ContainerStatusUnknown", lost)
        else:
            message = last_words(self.files, self.spec, code, self.record.restarts)
            self._finish(code, "Error" if code else "Completed", message)

    def _finish(self, code: int, reason: str, message: str) -> None:
        """Save the end before the process is forgotten, so that a crash between cannot lose it."""
        self.record.finish(code, reason, message)
        self.record.save(self.files.record)
        self.files.identity.unlink(missing_ok=True)
        self.files.pid.unlink(missing_ok=True)
        self._host.touch()

    def on_started(self) -> None:
        """The startup probe succeeded, or there is none."""
        self.record.is_started = True
        self._host.touch()

    def on_ready(self, *, is_ready: bool) -> None:
        """What readiness is now."""
        if self.record.is_ready != is_ready:
            self.record.is_ready = is_ready
            self._host.touch()

    async def on_dead(self, message: str) -> None:
        """Liveness or startup failed for good: end this execution; the policy says what follows."""
        log.info("container %s: %s: it is restarted", self.spec["name"], message)
        await self._end_process(self._host.object["spec"].get("terminationGracePeriodSeconds", 30))

    def misbehave(self) -> None:
        """Act on the annotation as it is now."""
        if self._process is None:
            return
        if (code := self._asked_code()) is not None:
            self._forced_code = code
            self._process.signal(signal.SIGKILL)
        elif self._host.misbehaviour() == "vanish":
            self._process.signal(signal.SIGKILL)

    def begin_stop(self) -> None:
        """Start nothing any more."""
        self._is_stopping = True
        self._wake.set()

    async def stop(self, grace_seconds: float) -> None:
        """End the running process, if there is one; how long it may take is not asked again."""
        self.begin_stop()
        await self._end_process(grace_seconds)

    async def _end_process(self, grace_seconds: float) -> None:
        """The preStop hook, SIGTERM, the rest of the grace but 2 s at least, SIGKILL."""
        process = self._process
        if process is None:
            return
        deadline = time.monotonic() + grace_seconds
        await self._run_hook(process, deadline)
        process.signal(signal.SIGTERM)
        await process.wait(max(deadline - time.monotonic(), LEAST_GRACE_SECONDS))
        process.signal(signal.SIGKILL)
        await process.wait()

    async def _run_hook(self, process: Process, deadline: float) -> None:
        """Run the preStop hook to its end, or until the process or the time is over."""
        hook = ((self.spec.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        if hook is None or self._launched is None:
            return
        running = asyncio.create_task(probes.execute(hook["command"], self._launched))
        while not running.done() and process.is_running and deadline > time.monotonic():
            await asyncio.wait([running], timeout=_HOOK_CHECK_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
