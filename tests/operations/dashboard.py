#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a headless Chromium: two linked sites and a third that is missing, applications that read key, and what a
person would see of it.

    dashboard.py <qkd004> <folder for screenshots>

Needs chromium, chromium-driver and python3-selenium (Debian's); without them it is skipped (77). Leaves screenshots at 1400
and 400 pixels, light and dark, and one of a connection that is lost.
"""
import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    debian = "/usr/bin/python3"  # whose packages python3-selenium is one of
    if os.path.exists(debian) and os.path.realpath(sys.executable) != os.path.realpath(debian):
        os.execv(debian, [debian, "-B", *sys.argv])
    print("skipped: there is no python3-selenium")
    sys.exit(77)

PATIENCE = 20  # seconds; nothing here takes that long unless it is broken
failures = []


def check(good, what):
    print(("ok    " if good else "FAIL  ") + what, flush=True)
    if not good:
        failures.append(what)


def until(condition, what):
    """Waits for something that has no event of its own; returns its value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    check(False, what)
    return None


# --- Sites ---

class Site:
    def __init__(self, program, config):
        with open(config + ".log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([program, "serve", "--config", config], text=True,
                                            stdout=subprocess.PIPE, stderr=log)
        self.addresses = []
        with open(config, encoding="utf-8") as file:
            wanted = next(line for line in file if line.startswith("listen")).count("://")
        while len(self.addresses) < wanted:
            line = self.process.stdout.readline()
            if not line:
                with open(config + ".log", encoding="utf-8") as log:
                    raise RuntimeError(f"{config}: the site has not started: {log.read()}")
            if line.startswith("listening "):
                self.addresses.append(line.split()[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process.stdout.close()


SEEDED = '[peer.source]\nkind = "seeded"\nsecret_file = "link.secret"\nrate_bps = 400_000\n'


def config_of(folder, node, listen, peers):
    """`peers`: node and address of each; their links have key at 400 kbit/s."""
    path = os.path.join(folder, node + ".toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'node = "{node}"\nlisten = {json.dumps(listen)}\n[memory]\nallow_unlocked = true\n')
        for peer, address in peers:
            file.write(f'[[peer]]\nnode = "{peer}"\n' + (f'address = "{address}"\n' if address else "") + SEEDED)
    return path


def call(address, name, body):
    host, port = address.split("//")[1].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    connection.request("POST", "/qkd004/v2/" + name, json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


class Application:
    """Reads a stream at both ends, some keys now and then, until it is stopped."""

    def __init__(self, at_a, at_b, name, keys_a_second):
        ends = {"source": f"qkd://{name}@site-a", "destination": f"qkd://{name}@site-b", "qos": {"ttl": 60}}
        self.id = call(at_a, "open_connect", {**ends, "no_wait": True})["key_stream_id"]
        call(at_b, "open_connect", {**ends, "key_stream_id": self.id, "no_wait": True})
        self.pause = 1 / keys_a_second
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.read, args=(at_a, at_b))
        self.thread.start()

    def read(self, at_a, at_b):
        index = 0
        while not self.ended.wait(self.pause):
            try:
                for at in (at_a, at_b):
                    call(at, "get_key", {"key_stream_id": self.id, "index": index, "no_wait": True})
            except (OSError, http.client.HTTPException, ValueError):
                continue  # the site is being restarted
            index += 1

    def stop(self):
        self.ended.set()
        self.thread.join()


# --- The browser ---

class Browser:
    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                         "--disable-dev-shm-usage", "--user-data-dir=" + os.path.join(folder, "profile")):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        self.driver.set_script_timeout(PATIENCE)

    def look_at(self, width, scheme, motion="no-preference"):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]})

    def text(self, selector):
        """What is to be seen of it: nothing, if it is hidden."""
        return self.driver.execute_script(
            "const e = document.querySelector(arguments[0]);"
            "return e && e.getClientRects().length ? e.innerText : '';", selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def screenshot(self, path):
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def complaints(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


# What is hardly told from its ground, of all text there is: WCAG 2.1, 1.4.3.
FAINT = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const ground = element => {
  for (let e = element; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c;
  }
  return [255, 255, 255];
};
const faint = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length || e.closest('script, style, .skip')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) faint.push(`${e.className || e.tagName} '${e.textContent.slice(0, 30)}' ${contrast.toFixed(2)}`);
}
return faint;
"""

WIDE = """
const wide = [];
for (const e of document.querySelectorAll('body *')) {
  const r = e.getBoundingClientRect();
  if (r.width && r.right > innerWidth + 0.5 && !e.closest('.skip, caption, thead')) wide.push(e.tagName + '.' + e.className);
}
return wide;
"""


def number_in(text):
    return float("".join(c for c in text if c in "0123456789.") or "0")


def look_at_all(browser, shots):
    for width in (1400, 400):
        for scheme in ("light", "dark"):
            browser.look_at(width, scheme)
            until(lambda: browser.run("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark"),
                  f"the browser takes {scheme}")
            name = f"dashboard-{width}-{scheme}"
            overflow = browser.run("return [document.scrollingElement.scrollWidth, innerWidth]")
            check(overflow[0] <= overflow[1] and overflow[1] == width, f"{name}: no wider than the window {overflow}")
            wide = browser.run(WIDE)
            check(not wide, f"{name}: nothing is cut off at the right {wide[:3]}")
            faint = browser.run(FAINT)
            check(not faint, f"{name}: all text has a contrast of 4.5 {faint[:5]}")
            browser.screenshot(os.path.join(shots, name + ".png"))


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    program, shots = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        print("skipped: there is no chromium, or no chromedriver")
        return 77
    os.makedirs(shots, exist_ok=True)
    sites, applications, browser = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([program, "secret", os.path.join(folder, "link.secret")], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            b = Site(program, config_of(folder, "site-b", ["http://127.0.0.1:0", "qkd004://127.0.0.1:0"], [("site-a", "")]))
            sites.append(b)
            peers = [("site-b", b.addresses[1]), ("site-c", b.addresses[1])]  # who is not site-c, and hangs up
            a = Site(program, config_of(folder, "site-a", ["http://127.0.0.1:0"], peers))
            sites.append(a)
            page = a.addresses[0]
            for name, speed in (("vpn", 40), ("backup", 4)):
                applications.append(Application(page, b.addresses[0], name, speed))
            browser = Browser(folder)
            browser.look_at(1400, "light")
            browser.driver.get(page + "/")

            # numbers appear, and change
            until(lambda: browser.text("#node") == "site-a", "the page shows the site")
            until(lambda: number_in(browser.text("#t-rate")) > 0, "the rate of the links appears")
            check("Simulated key" in browser.text("#simulated"), "it says that the key is simulated")
            check("Not ready" in browser.text("#ready"), "it says that the site is not ready")
            check(browser.text("#t-links").strip() == "1 / 2", "one of two links is up: " + browser.text("#t-links"))
            until(lambda: "not connected: closed by the other end" in browser.text("#links"), "it says why the other link is not")
            until(lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "#streams tbody tr")) == 2, "both streams are listed")
            check(applications[0].id in browser.text("#streams"), "with their Key_stream_ID")
            check("qkd://vpn@site-a" in browser.text("#streams"), "and the URIs of their ends")
            first = number_in(browser.text("#links dd"))
            until(lambda: number_in(browser.text("#links dd")) > first, "the count of keys grows")
            until(lambda: browser.text("#t-latency")[:1].isdigit(), "the time that GET_KEY takes appears")
            check("GET_KEY" in browser.text("#calls") and "success" in browser.text("#calls"), "calls are counted by status")
            style = browser.run("return getComputedStyle(document.querySelector('.card')).borderTopLeftRadius")
            check(style == "12px", "the style is used: " + style)
            until(lambda: (browser.run("return document.querySelector('.spark .line').getAttribute('d')") or "").count("L") > 5,
                  "the sparkline is drawn")

            # what the page may do
            blocked = browser.run("""
                const script = document.createElement('script');
                try { script.text = 'window.injected = 1'; document.body.append(script); } catch (error) { return String(error); }
                return window.injected ? '' : 'not run';""")
            check(bool(blocked), f"a script that is not the page's own is not run: {blocked}")
            browser.complaints()  # of that, and of nothing else

            # keyboard
            body = browser.driver.switch_to.active_element
            body.send_keys(Keys.TAB)
            check(browser.run("return document.activeElement.className") == "skip", "the first tab stop leads to the links")
            browser.driver.switch_to.active_element.send_keys(Keys.TAB)
            check(browser.run("return document.activeElement.id") == "pause", "the second is the pause button")
            browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
            check(browser.run("return document.querySelector('#pause').getAttribute('aria-pressed')") == "true", "Enter pauses")
            still = browser.run("""
                const done = arguments[arguments.length - 1];
                let changes = 0;
                new MutationObserver(list => { changes += list.length; }).observe(document.querySelector('main'),
                    {subtree: true, childList: true, characterData: true, attributes: true});
                window.changesSoFar = () => changes;
                return document.querySelector('#pause').innerText""")
            check(still == "Resume", "and the button then says Resume")
            count = browser.driver.execute_async_script(
                "const done = arguments[0]; const s = new EventSource('/events'); let n = 0;"
                "s.onmessage = () => { if (++n === 3) { s.close(); done(window.changesSoFar()); } };")
            check(count == 0, f"nothing moves while it is paused: {count}")
            browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
            until(lambda: browser.run("return window.changesSoFar()") > 0, "it goes on after that")
            browser.run("document.activeElement.blur()")

            # reduced motion
            duration = "return getComputedStyle(document.querySelector('.bar span')).transitionDuration"
            check(browser.run(duration) != "0s", "bars glide")
            browser.look_at(1400, "light", "reduce")
            check(browser.run(duration) == "0s", "unless motion is to be reduced")

            # with a sparkline that shows something
            until(lambda: (browser.run("return document.querySelector('td .spark .line').getAttribute('d')") or "").count("L") > 8,
                  "the sparkline of a stream is drawn")
            look_at_all(browser, shots)
            complaints = browser.complaints()
            check(not complaints, f"the browser has nothing to complain of {complaints[:2]}")

            # the site goes and comes back
            a.stop()
            sites.remove(a)
            until(lambda: "Connection lost" in browser.text("#lost"), "a connection that is lost is shown")
            browser.look_at(400, "light")
            browser.screenshot(os.path.join(shots, "dashboard-400-lost.png"))
            a = Site(program, config_of(folder, "site-a", [page], peers))
            sites.append(a)
            until(lambda: browser.text("#lost") == "", "and that it is back")
            until(lambda: "Not ready" in browser.text("#ready"), "with the site as it stands")
        finally:
            if browser:
                browser.driver.quit()
            for application in applications:
                application.stop()
            for site in sites:
                site.stop()
    print(f"{len(failures)} failures; screenshots in {shots}")
    return 1 if failures else 0


sys.exit(main())
