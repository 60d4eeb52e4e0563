#!/usr/bin/env python3
"""The server's page in a headless Chromium: items are found by typing, chosen, and change the lists.

    page_test.py PROGRAM PICTURE       exit code 77: there is no Chromium
"""

import json
import sys
from pathlib import Path

import browser
from serving import Server, World

TITLE = 'A "<b>lid</b>" & pot'


def check(program, picture):
    with World(program) as world:
        domains = world.domains()
        first, second = list(domains)[:2]
        items = domains[first]["items"]
        titles = world.folder / "titles.jsonl"
        titles.write_text("".join(json.dumps({"item_id": item, "title": TITLE if n == 3 else f"Thing {n}"}) + "\n"
                                  for n, item in enumerate(items)))
        with Server(world, f"--titles={first}={titles}") as server, browser.Browser() as page:
            page.open(f"http://127.0.0.1:{server.port}/")
            page.wait_for("document.querySelectorAll('#lists section').length === 2")
            bases = page.run("[...document.querySelectorAll('#lists section')].map(one => one.dataset.basis)")
            assert bases == ["popular", "popular"], bases
            page.run("(() => { const box = document.getElementById('search'); box.value = 'LID';"
                     " box.dispatchEvent(new Event('input')); })()")
            page.wait_for("document.querySelectorAll('#found li').length === 1")
            assert TITLE in page.run("document.getElementById('found').textContent")
            page.run("document.querySelector('#found button').click()")
            page.wait_for("document.querySelector('#lists section').dataset.basis === 'history'")
            shown = page.run("[...document.querySelectorAll('#lists section')].map(section => [section.dataset.domain,"
                             " section.dataset.basis, ...[...section.querySelectorAll('li .key, li .name')]"
                             ".map(one => one.textContent)])")
            answer = server.ask("/recommend", {"history": {first: [items[3]]}, "k": 10})[1]
            for section, wanted in zip(shown, answer["lists"]):
                assert section[:2] == [wanted["domain"], wanted["basis"]], section
                for item in wanted["items"]:
                    assert item["item"] in section or any(item["item"] in one for one in section), (item, section)
            why = page.run("[...document.querySelectorAll('#lists section:first-child li')].map("
                           "li => li.querySelector('.why')?.textContent ?? '')")
            assert any(why), "no list says why"
            assert set(why) <= {"", "because of " + TITLE}, why
            page.picture(picture)
            page.run("document.querySelector('#chosen button').click()")
            page.wait_for("document.querySelector('#lists section').dataset.basis === 'popular'")
            page.run(f"(() => {{ const box = document.getElementById('user'); box.value = {json.dumps(domains[second]['users'][0])};"
                     " box.dispatchEvent(new Event('change')); })()")
            page.wait_for("document.querySelectorAll('#lists section')[1].dataset.basis === 'dataset'")
            assert page.run("document.getElementById('error').textContent") == ""
            server.kill()
            page.run("document.getElementById('user').dispatchEvent(new Event('change'))")
            page.wait_for("document.getElementById('error').textContent !== ''")
            complaints = [one for one in page.complaints() if "ERR_CONNECTION" not in one and "favicon" not in one]
            assert not complaints, complaints
    print(f"the page works; {picture} shows it")


if __name__ == "__main__":
    if browser.find() is None:
        print("there is no Chromium on this machine")
        sys.exit(77)
    check(str(Path(sys.argv[1]).resolve()), sys.argv[2])
