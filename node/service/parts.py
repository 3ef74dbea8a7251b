"""The parts of the node, and what each is given: who depends on whom.

The main thread makes and owns them all. A part with a thread of its own says so; the threads share
the store, the inbox and `Speaking`, which tells of unfinished speech.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.adapters.announced import AnnouncedTopics
from node.adapters.broker import Broker, Will
from node.adapters.metrics import MetricsPage
from node.adapters.store import Store
from node.adapters.system_clock import read_clock
from node.adapters.transcripts import TranscriptFolder
from node.adapters.whisper import Engine
from node.core.deadlines import Deadlines
from node.core.mqtt.topics import Topics, work_request
from node.core.roster import Roster
from node.service import settings
from node.service.archive import Archive
from node.service.conductor import Conductor
from node.service.eraser import Eraser
from node.service.health import Health, SystemMetrics
from node.service.inbox import Inbox
from node.service.inventory import Inventory
from node.service.items import DamageFound
from node.service.lifecycle import Lifecycle
from node.service.listening.listener import Listener
from node.service.listening.spool import Spool
from node.service.metrics import Metrics
from node.service.mic_scanner import MicScanner
from node.service.publishing.broker_advice import connection_advice
from node.service.publishing.homeassistant import HomeAssistant
from node.service.publishing.publisher import Publisher
from node.service.publishing.retained_states import RetainedStates
from node.service.reload import Reloader
from node.service.reports import Reports
from node.service.requests import Requests, Verbs
from node.service.retention import Retention
from node.service.supervision import Supervision
from node.service.transcribing.package_registry import PackageRegistry
from node.service.transcribing.transcriber import Transcriber
from node.service.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from node.adapters.systemd import Notifier
    from node.config import Config
    from node.service.transcribing.away import Away


class Parts:
    """Makes all parts and starts none.

    Raises:
        ConfigError: a file that the configuration names, such as the password's, cannot be used.
    """

    def __init__(
        self, config: Config, file: Path, notifier: Notifier, go_online: Callable[[], None]
    ) -> None:
        """`go_online` is called once, when the model is loaded or known not to load."""
        self.inbox = Inbox()
        self.deadlines = Deadlines()
        self.topics = Topics(config.mqtt.base_topic, config.node.id)
        self.store = Store(
            config.storage.path,
            keep_audio=config.storage.keep_audio,
            report=lambda what: self.inbox.put(DamageFound(what)),
        )
        self.system = SystemMetrics(config.storage.path, config.audio.sys_root)
        self.roster = Roster()
        self.inventory = Inventory(config.audio, self.store.sessions.know_mics)
        self.scanner = MicScanner(self.inventory, self.roster, self.inbox.put)
        self._make_threads(config)
        self._make_session(config)
        self._make_publishing(config)
        self._make_metrics(config)
        self._make_memory(config)
        self._make_supervision(config, notifier, go_online)
        self._make_requests(config, file)

    def _make_threads(self, config: Config) -> None:
        """The listener records, the transcriber turns it into text; the store is between them."""
        broker_only = config.transcription.where == "broker"
        self.transcriber = Transcriber(
            engine=None if broker_only else Engine(settings.engine_settings(config)),
            sessions=self.store.sessions,
            utterances=self.store.utterances,
            topics=self.topics,
            post=self.inbox.put,
            name_hotwords=config.transcription.name_hotwords,
            partials=config.transcription.partials,
            fetch=PackageRegistry(config.transcription.model, config.storage.path / "models").fetch,
            away=self._away(config),
        )
        spool = Spool(
            utterances=self.store.utterances,
            audio=self.store.audio,
            max_mb=config.storage.max_spool_mb,
            captured=self.transcriber.captured,
            misheard=self.transcriber.misheard,
            topics=self.topics,
            speaking=self.transcriber.speaking,
            post=self.inbox.put,
        )
        self.listener = Listener(
            inventory=self.inventory,
            spool=spool,
            endpointing=settings.endpointing(config),
            crosstalk=config.crosstalk.mode,
            post=self.inbox.put,
        )

    def _away(self, config: Config) -> Away | None:
        """Return what speaks to workers, if the configuration lets sound leave this machine."""
        if config.transcription.where == "here":
            return None
        # A node that sends nothing away starts 20 ms sooner without these.
        from node.service.transcribing.away import Away  # noqa: PLC0415  # only to share work out
        from node.service.transcribing.work_link import WorkLink  # noqa: PLC0415  # only to share work out

        topic = work_request(config.mqtt.base_topic, config.transcription.model)
        return Away(
            WorkLink(settings.broker_settings(config), self.topics, topic),
            settings.engine_settings(config),
            config.transcription.model_name,
            partial(settings.wanted_model, config),
            returns=config.transcription.where == "auto",
        )

    def _make_session(self, config: Config) -> None:
        self.archive = Archive(
            sessions=self.store.sessions,
            traces=self.store.traces,
            folder=TranscriptFolder(config.storage.path),
            topics=self.topics,
            zone=settings.zone(config),
        )
        self.conductor = Conductor(
            deadlines=self.deadlines,
            store=self.store,
            roster=self.roster,
            inventory=self.inventory,
            system=self.system,
            listener=self.listener,
            archive=self.archive,
            default_language=config.transcription.language,
            node=self.topics.node,
            clock=read_clock,
        )

    def _make_publishing(self, config: Config) -> None:
        """Everything that is published over MQTT."""
        broker = settings.broker_settings(config)
        advice = partial(connection_advice, broker)
        self.broker = Broker(broker, Will(self.topics.status), self.inbox.deliver, advice)
        self.publisher = Publisher(self.broker, self.topics, self.store.outbox)
        self.states = RetainedStates(
            deadlines=self.deadlines,
            config=config,
            topics=self.topics,
            publisher=self.publisher,
            roster=self.roster,
            conductor=self.conductor,
            zone=settings.zone(config),
        )
        self.home_assistant = HomeAssistant(
            deadlines=self.deadlines,
            discovery=settings.discovery(config, self.topics),
            announced=AnnouncedTopics(config.storage.path / "homeassistant.json"),
            publisher=self.publisher,
            roster=self.roster,
        )
        self.health = Health(
            deadlines=self.deadlines,
            system=self.system,
            store=self.store,
            transcriber=self.transcriber,
            publisher=self.publisher,
            states=self.states,
        )

    def _make_metrics(self, config: Config) -> None:
        """What Prometheus reads, if metrics are enabled."""
        self.metrics = None
        if config.metrics.enabled:
            self.metrics = Metrics(
                page=MetricsPage(config.metrics.host, config.metrics.port),
                deadlines=self.deadlines,
                health=self.health,
                states=self.states,
                roster=self.roster,
                publisher=self.publisher,
            )

    def _make_memory(self, config: Config) -> None:
        """What deletes sessions: requests, and the retention settings."""
        self.eraser = Eraser(
            deadlines=self.deadlines,
            store=self.store,
            archive=self.archive,
            states=self.states,
            publisher=self.publisher,
            forget=self.transcriber.forget,
        )
        self.retention = Retention(
            deadlines=self.deadlines,
            traces=self.store.traces,
            storage=config.storage,
            conductor=self.conductor,
            erase=self.eraser.erase,
            publisher=self.publisher,
        )

    def _make_supervision(
        self, config: Config, notifier: Notifier, go_online: Callable[[], None]
    ) -> None:
        """What watches the node, reports on it, and decides whether it must end."""
        self.watchdog = Watchdog(
            listener=self.listener,
            transcriber=self.transcriber,
            broker=self.broker,
            publisher=self.publisher,
            system=self.system,
            ballast=self.store.ballast,
        )
        self.supervision = Supervision(
            deadlines=self.deadlines,
            notifier=notifier,
            conductor=self.conductor,
            roster=self.roster,
            publisher=self.publisher,
            watchdog=self.watchdog,
        )
        self.lifecycle = Lifecycle(
            deadlines=self.deadlines,
            conductor=self.conductor,
            publisher=self.publisher,
            states=self.states,
            supervision=self.supervision,
            watchdog=self.watchdog,
            go_online=go_online,
            without_workers=settings.WITHOUT_WORKERS[config.transcription.where],
        )
        self.reports = Reports(
            roster=self.roster,
            health=self.health,
            publisher=self.publisher,
            supervision=self.supervision,
        )

    def _make_requests(self, config: Config, file: Path) -> None:
        """What users can ask for: by MQTT, or by SIGHUP."""
        verbs = Verbs(
            roster=self.roster,
            scanner=self.scanner,
            sessions=self.store.sessions,
            search=self.store.search,
            archive=self.archive,
            conductor=self.conductor,
            health=self.health.record,
            erase=self.eraser.erase,
        )
        self.requests = Requests(
            topics=self.topics,
            verbs=verbs,
            conductor=self.conductor,
            publisher=self.publisher,
            refused=self.states.refused,
        )
        self.reloader = Reloader(
            file=file,
            config=config,
            inventory=self.inventory,
            scanner=self.scanner,
            listener=self.listener,
            conductor=self.conductor,
            publisher=self.publisher,
            supervision=self.supervision,
        )
