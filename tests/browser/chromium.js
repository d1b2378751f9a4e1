// The real browser of the page tests: Debian's Chromium, told to fetch nothing of its own
// and to take the tests' certificate.

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-sandbox", // the tests may run as root
  "--ignore-certificate-errors", // the certificate is the test's own
];

/** Starts a browser that `hook` ends. */
export async function launch(hook) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  hook(() => browser.close());
  return browser;
}
