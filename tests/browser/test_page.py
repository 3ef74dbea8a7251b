"""The page as a person uses it, in a real Chromium, on a real broker with a real node."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from node.web import password
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import RunningNode
from tests.rig.page import PEOPLE, RunningPage, meeting
from tests.rig.patience import stretched
from tests.rig.prefix_proxy import PREFIX, PrefixProxy
from tests.rig.processes import wait_until
from tests.rig.scripted_node import ScriptedNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

LINES = 4600
WAIT_MS = 60_000
FOLLOW_S = 2.0
"""How soon a line is on the page after it was published, in a session of 4,600; 0.1 s measured."""


WATCH_PARTIALS = """() => {
    window.partials = new Set();
    const text = (line, part) => line.querySelector(part).textContent;
    new MutationObserver(() => {
        for (const line of document.querySelectorAll("#transcript .line.partial"))
            window.partials.add(text(line, ".who") + "\\n" + text(line, ".text"));
    }).observe(document.querySelector("#transcript"), { childList: true, subtree: true });
}"""


class Lab:
    """A broker, a node in a meeting that never ends, and the page's program."""

    def __init__(self, folder: Path, broker: Broker, watcher: Watcher, **sections: Any) -> None:
        self.broker = broker
        self.watcher = watcher
        self.node = RunningNode(folder, meeting(folder, broker.port, **sections))
        self.page = RunningPage(self.node.file, password_file=folder / "none")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Broker() as broker, Watcher(broker.port) as watcher:
        made = Lab(tmp_path, broker, watcher)
        with made.node, made.page:
            made.node.wait_online(watcher)
            made.page.wait_online()
            yield made


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A new visitor's tab; scripts that fail, and requests to elsewhere, fail the test."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.set_default_timeout(stretched(WAIT_MS / 1000) * 1000)
    expect.set_options(timeout=stretched(WAIT_MS / 1000) * 1000)
    errors: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Security" in said.text else None)
    page.on("request", lambda request: hosts.add(re.sub(r":\d+/.*", "", request.url)))
    yield page
    context.close()
    assert errors == []
    assert hosts <= {"http://127.0.0.1"}


def start(tab: Page, title: str = "Monday") -> None:
    """Name everybody with the keyboard alone, and start."""
    tab.locator("#mics input").first.focus()
    for name in PEOPLE.values():
        tab.keyboard.type(name)
        tab.keyboard.press("Tab")  # to the switch of that microphone
        tab.keyboard.press("Tab")
    tab.get_by_label("Title").fill(title)
    tab.keyboard.press("Enter")
    expect(tab.locator("#stop")).to_be_visible()


def lines(tab: Page, box: str = "#transcript") -> Any:
    return tab.locator(f"{box} .line:not(.partial)")


def test_name_start_read_stop_and_download(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    expect(tab.locator("#mics li")).to_have_count(3)
    start(tab)
    expect(tab.locator("#state")).to_contain_text("Recording")
    expect(lines(tab).nth(5)).to_be_visible()
    for name in PEOPLE.values():
        expect(tab.locator("#transcript .who", has_text=name).first).to_be_visible()
    colours = tab.locator("#transcript .who").evaluate_all("all => all.map(one => one.className)")
    assert len(set(colours)) == 3
    expect(tab.locator("#mics .level").first).to_contain_text("dBFS")
    expect(tab.locator("#announce")).to_contain_text(":")
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#state")).to_have_text("Ready")
    shown = [tuple(each.inner_text().split("\n")[1:]) for each in lines(tab).all()]
    with tab.expect_download() as waiting:
        tab.locator("#live-downloads").get_by_role("link", name="txt").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    said = re.findall(r"\] (.+?): (.+)", text)
    assert len(said) >= len(shown) >= 6  # one who is interrupted has several lines in the file
    assert {name for name, _ in shown} == set(PEOPLE.values())
    expect(tab.locator("#sessions li")).to_have_count(1)
    for suffix in ("json", "srt", "vtt"):
        with tab.expect_download() as waiting:
            tab.locator("#live-downloads").get_by_role("link", name=suffix).click()
        assert waiting.value.suggested_filename.endswith(f".{suffix}")


def test_what_is_still_being_said_is_shown_and_becomes_a_line(tmp_path: Path, tab: Page) -> None:
    with Broker() as broker, Watcher(broker.port) as watcher:
        lab = Lab(tmp_path, broker, watcher, transcription={"partials": True})
        with lab.node, lab.page:
            lab.node.wait_online(watcher)
            lab.page.wait_online()
            tab.goto(lab.page.url)
            expect(tab.locator("#mics li")).to_have_count(3)
            tab.evaluate(WATCH_PARTIALS)
            start(tab)
            tab.wait_for_function("() => window.partials.size >= 3")
            expect(lines(tab).nth(3)).to_be_visible()
            tab.get_by_role("button", name="Stop").click()
            expect(tab.locator("#state")).to_have_text("Ready")
            expect(tab.locator(".line.partial")).to_have_count(0)
            shown = tab.evaluate("[...window.partials]")
            sent = [m.json() for m in watcher.messages("scribe/lab/mic/+/partial")]
            assert set(shown) <= {f"{one['speaker']}\n{one['text']}" for one in sent}
            final = {line.inner_text().partition("\n")[2] for line in lines(tab).all()}
            assert any(line.startswith(part) for part in shown for line in final)


def test_a_past_session_is_opened_and_deleted_after_a_question(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    start(tab, "To delete")
    expect(lines(tab).nth(1)).to_be_visible()
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_role("button", name=re.compile("Open: To delete")).click()
    expect(tab.locator("#opened-title")).to_be_focused()
    expect(lines(tab, "#opened-transcript").nth(1)).to_be_visible()
    erase = tab.get_by_role("button", name=re.compile("Delete: To delete"))
    erase.click()
    expect(tab.get_by_role("button", name="Keep")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(erase).to_be_visible()
    erase.click()
    tab.locator("#ask").get_by_role("button", name="Delete").click()
    expect(tab.locator("#sessions")).to_have_text("There is no session yet.")
    expect(tab.locator("#opened")).to_be_hidden()


def test_a_meeting_in_two_rooms_is_offered_as_one(lab: Lab, tab: Page, tmp_path: Path) -> None:
    home = tmp_path / "office"
    home.mkdir()
    names = [{"mic": mic, "speaker": name} for mic, name in PEOPLE.items()]
    start = {"title": "Budget", "group": "budget", "assignments": names}
    with RunningNode(home, meeting(home, lab.broker.port, node={"id": "office"})) as office:
        office.wait_online(lab.watcher)
        wait_until(lambda: len(lab.page.view()["nodes"]) == 2, 30, "both nodes")
        tab.goto(lab.page.url)
        for verb in ("start", "stop"):
            after = lab.watcher.count()
            body = json.dumps(start) if verb == "start" else "{}"
            lab.watcher.publish(f"scribe/all/request/session/{verb}", body)
            for node in ("lab", "office"):
                lab.watcher.wait_for(f"scribe/{node}/response/session/{verb}", 60, after)
                if verb == "start":
                    lab.watcher.wait_for(f"scribe/{node}/mic/mic-alice/segment", 60, after)
        tab.get_by_role("button", name=re.compile("Open: Budget")).click()
        together = tab.locator("#opened-meeting")
        expect(together).to_contain_text("One transcript of lab, office:")
        expect(together.locator("small")).to_contain_text("clock")
        with tab.expect_download() as waiting:
            together.get_by_role("link", name="json").click()
        assert waiting.value.suggested_filename.startswith("meeting_")
        document = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
        assert sorted(each["node"] for each in document["nodes"]) == ["lab", "office"]
        assert {each["mic"].partition("/")[0] for each in document["segments"]} == {"lab", "office"}


def test_a_reload_in_mid_session_loses_nothing(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    start(tab)
    expect(lines(tab).nth(3)).to_be_visible()
    before = [each.inner_text() for each in lines(tab).all()]
    tab.reload()
    expect(lines(tab).nth(len(before))).to_be_visible()
    after = [each.inner_text() for each in lines(tab).all()]
    assert set(before) <= set(after)
    assert len(set(after)) == len(after)
    assert tab.locator("#mics input").first.input_value() == "Alice"
    expect(tab.locator("#stop")).to_be_visible()


def test_a_node_that_is_killed_is_said_and_comes_back(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    start(tab)
    expect(lines(tab).nth(1)).to_be_visible()
    lab.node.program.signal(signal.SIGKILL)
    expect(tab.locator("#troubles")).to_contain_text("is offline")
    expect(tab.locator("#stop")).to_be_disabled()
    before = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, before)
    expect(tab.locator("#troubles")).not_to_contain_text("is offline")
    expect(tab.locator("#start")).to_be_enabled()
    expect(tab.locator("#sessions li")).to_have_count(1)


def test_a_broker_that_is_away_is_said_and_no_line_is_lost(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    start(tab)
    expect(lines(tab).nth(1)).to_be_visible()
    lab.broker.kill()
    expect(tab.locator("#troubles")).to_contain_text("No connection to the broker")
    lab.watcher.wait_disconnected()
    tab.wait_for_timeout(4000)  # people go on talking meanwhile
    lab.broker.start()
    expect(tab.locator("#troubles")).not_to_contain_text("No connection to the broker")
    # The node comes back in its own time, and until then its last `online` stands.
    wait_until(lambda: lab.page.get("detect_mics").status == 200, 90, "the node answers again")
    expect(tab.locator("#stop")).to_be_enabled()
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#state")).to_have_text("Ready")
    shown = [each.inner_text() for each in lines(tab).all()]
    session = lab.page.get("api/nodes/lab/sessions").json()["data"]["sessions"][0]["session_id"]
    path = f"api/nodes/lab/sessions/{session}/segments"
    kept = lab.page.get(path).json()["data"]["segments"]
    assert [line.rpartition("\n")[2] for line in shown] == [one["text"] for one in kept]


def test_a_node_that_died_with_its_broker_is_said_not_to_answer(lab: Lab, tab: Page) -> None:
    """The broker could not publish the last will: its `online` of before stands for ever."""
    tab.goto(lab.page.url)
    expect(tab.locator("#mics li")).to_have_count(3)
    lab.broker.kill()
    lab.node.program.signal(signal.SIGKILL)
    expect(tab.locator("#troubles")).to_contain_text("No connection to the broker")
    lab.broker.start()
    expect(tab.locator("#troubles")).to_contain_text("The node lab does not answer")
    assert lab.page.node()["online"]
    before = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, before)
    expect(tab.locator("#troubles")).not_to_contain_text("does not answer")
    expect(tab.locator("#start")).to_be_enabled()


def test_a_name_that_the_node_did_not_take_is_sent_with_the_start(lab: Lab, tab: Page) -> None:
    spoken = {"mic": "mic-alice", "speaker": "", "language": "fr"}
    assert lab.page.post("api/nodes/lab/assign", {"assignments": [spoken]}).status == 200
    tab.goto(lab.page.url)
    expect(tab.locator("#mics li")).to_have_count(3)
    lab.node.program.signal(signal.SIGKILL)
    expect(tab.locator("#start")).to_be_disabled()
    name = tab.locator("#mics li[data-mic=mic-alice] input")
    name.fill("Zoé")
    name.press("Tab")
    expect(tab.locator("#said")).not_to_be_empty()
    before = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, before)
    expect(tab.locator("#start")).to_be_enabled()
    tab.locator("#start").click()
    expect(tab.locator("#stop")).to_be_visible()
    (alice,) = (mic for mic in lab.page.node()["mics"] if mic["mic"] == "mic-alice")
    assert (alice["speaker"], alice["language"]) == ("Zoé", "fr")


def test_the_page_says_when_its_program_is_away_and_goes_on(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    expect(tab.locator("#mics li")).to_have_count(3)
    lab.page.program.signal(signal.SIGTERM)
    expect(tab.locator("#troubles")).to_contain_text("does not answer")
    again = RunningPage(
        lab.node.file,
        password_file=lab.node.folder / "none",
        listen=f"127.0.0.1:{lab.page.port}",
    )
    lab.page.program.wait(30)
    with again:
        expect(tab.locator("#troubles")).not_to_contain_text("does not answer")
        tab.get_by_role("button", name="Look again").click()
        expect(tab.locator("#start")).to_be_enabled()


def test_a_password_is_asked_for(lab: Lab, tab: Page, tmp_path: Path) -> None:
    password.write(tmp_path / "secret", "correct horse")
    with RunningPage(lab.node.file, password_file=tmp_path / "secret") as page:
        tab.goto(page.url)
        expect(tab.get_by_label("Password of this page")).to_be_focused()
        tab.keyboard.type("wrong horse")
        tab.keyboard.press("Enter")
        expect(tab.locator("#login-error")).to_have_text("the password is wrong")
        tab.get_by_label("Password of this page").fill("correct horse")
        tab.keyboard.press("Enter")
        expect(tab.locator("#mics li")).to_have_count(3)
        assert tab.evaluate("document.cookie") == ""  # scripts cannot read it
        tab.reload()
        tab.get_by_role("button", name="Log out").click()
        expect(tab.get_by_label("Password of this page")).to_be_visible()
        assert tab.context.cookies() == []


def test_it_works_below_the_path_of_a_proxy(lab: Lab, tab: Page, tmp_path: Path) -> None:
    password.write(tmp_path / "secret", "correct horse")
    with (
        RunningPage(lab.node.file, password_file=tmp_path / "secret") as page,
        PrefixProxy(page.port) as proxy,
    ):
        tab.goto(proxy.url)
        tab.get_by_label("Password of this page").fill("correct horse")
        tab.keyboard.press("Enter")
        expect(tab.locator("#mics li")).to_have_count(3)
        (cookie,) = tab.context.cookies()
        assert (cookie["path"], cookie["httpOnly"]) == (f"{PREFIX}/", True)
        start(tab)
        expect(lines(tab).nth(1)).to_be_visible()
        tab.get_by_role("button", name="Stop").click()
        with tab.expect_download() as waiting:
            tab.locator("#live-downloads").get_by_role("link", name="txt").click()
        assert "Alice: " in Path(waiting.value.path()).read_text(encoding="utf-8")
        tab.get_by_role("link", name="HTTP API").click()
        expect(tab.get_by_text("POST /start_transcription")).to_be_visible()
        tab.goto("about:blank")  # ends its stream


def test_french_and_dark_on_a_phone(lab: Lab, browser: Browser) -> None:
    context = browser.new_context(
        locale="fr-FR", color_scheme="dark", viewport={"width": 360, "height": 740}, is_mobile=True
    )
    phone = context.new_page()
    phone.goto(lab.page.url)
    expect(phone.get_by_role("button", name="Démarrer")).to_be_visible()
    assert phone.locator("html").get_attribute("lang") == "fr"
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background))) < 64
    context.close()


def test_everything_has_a_name_for_a_screen_reader(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    expect(tab.locator("#mics li")).to_have_count(3)
    tree = tab.locator("body").aria_snapshot()
    assert (
        re.findall(r"- (?:button|textbox|link|combobox|meter|searchbox)(?::|$)", tree, re.MULTILINE)
        == []
    )
    for said in ('heading "Microphones"', 'textbox "Name of the person at microphone 1', "banner"):
        assert said in tree
    assert 'button "Start"' in tree


def test_the_documentation_of_the_api_is_shown(lab: Lab, tab: Page) -> None:
    tab.goto(lab.page.url)
    tab.get_by_role("link", name="HTTP API").click()
    expect(tab.get_by_text("POST /start_transcription")).to_be_visible()


def test_a_session_of_eight_hours_is_followed_without_delay(
    tmp_path: Path, browser: Browser, tab: Page
) -> None:
    """A node that is scripted: to record so much takes eight hours."""
    with Broker() as broker, ScriptedNode(broker.port, LINES) as node:
        file = tmp_path / "node.yaml"
        file.write_text(f"mqtt:\n  host: 127.0.0.1\n  port: {broker.port}\n")
        with RunningPage(file, password_file=tmp_path / "none") as page:
            tab.goto(page.url)
            expect(lines(tab)).to_have_count(LINES)
            took = [_follow(tab, node, number) for number in range(20)]
            print(f"a line is shown after {sorted(took)[10]:.3f} s, at most {max(took):.3f}")
            assert sorted(took)[10] < stretched(FOLLOW_S)
            assert tab.evaluate("document.querySelector('#newest').hidden")
            texts = tab.locator("#transcript .text").all_inner_texts()
            assert texts == [one["text"] for one in node.segments]
            tab.get_by_label("Search what was said").fill("line 2300")
            tab.keyboard.press("Enter")
            tab.locator("#hits button").first.click()
            expect(tab.locator("#opened .marked")).to_contain_text("line 2300 of")
            assert len(browser.contexts) == 1


def _follow(tab: Page, node: ScriptedNode, number: int) -> float:
    """Return the seconds from publishing a line until it is painted."""
    text = f"Said just now, {number}."
    tab.evaluate(
        """text => { window.shown = new Promise(resolve => {
            const box = document.querySelector("#transcript");
            new MutationObserver((_, observer) => {
                if (!box.lastElementChild.previousElementSibling.textContent.endsWith(text)) return;
                observer.disconnect();
                requestAnimationFrame(() => setTimeout(() => resolve(Date.now())));
            }).observe(box, { childList: true, subtree: true });
        }); }""",
        text,
    )
    began = tab.evaluate("Date.now()")
    node.say(text)
    ended = tab.evaluate("window.shown")
    return float(ended - began) / 1000
