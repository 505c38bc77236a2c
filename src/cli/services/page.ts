// The page that the stack shows about itself: one self-contained HTML document, readable by people and by screen readers.

import { STATUS_CODES } from 'node:http';
import { bytes, count, duration } from '../report.ts';

/** One open connection or listener, as the page and `/status.json` show it. */
export interface ConnectionFacts {
  readonly protocol: string;
  readonly local: string;
  readonly remote: string;
  readonly state: string;
  readonly [more: string]: unknown;
}

/** One service that listens. */
export interface ServiceFacts {
  readonly name: string;
  readonly transport: string;
  readonly port: number;
  /** Where it listens; on every address when left out. */
  readonly address?: string;
}

/** The state of the program, as `/status.json` gives it. */
export interface Facts {
  readonly name: 'tapstack';
  readonly version: string;
  /** Seconds since the start. */
  readonly uptime: number;
  readonly interface: {
    readonly name: string;
    readonly mac: string;
    readonly mtu: number;
    readonly offload: readonly string[];
    readonly addresses: readonly { readonly address: string; readonly state: string }[];
  };
  readonly link: {
    readonly rxFrames: number;
    readonly rxBytes: number;
    readonly txFrames: number;
    readonly txBytes: number;
  };
  readonly services: readonly ServiceFacts[];
  readonly connections: readonly ConnectionFacts[];
  /** Counters by layer, under their MIB names. */
  readonly counters: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Frames not accepted, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** Rows of connections on the page; all of them are in `/status.json`. */
const MOST_ROWS = 100;

/** Connections that somebody is at the other end of: neither listeners nor UDP sockets. */
export function openConnections(all: readonly ConnectionFacts[]): number {
  return all.filter(({ protocol, state }) => protocol === 'tcp' && state !== 'LISTEN').length;
}

/** Frames that were for us and were refused. What a shared link carries for others (IPv6 chatter, say) is no loss. */
export function dropCount(drops: Facts['drops']): number {
  return Object.entries(drops).reduce((sum, [reason, n]) => (FOR_OTHERS.has(reason) ? sum : sum + n), 0);
}

const FOR_OTHERS = new Set(['not for us', 'unknown ethertype', 'unknown vlan']);

/** Makes any text safe inside HTML text and quoted attributes. Everything that came from the wire goes through here. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Already safe HTML; only {@link html} makes it. */
class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | readonly Html[];

/** A template that escapes every value put into it, but for HTML it made itself. */
function html(strings: TemplateStringsArray, ...values: Part[]): Html {
  let text = strings[0] ?? '';
  values.forEach((value, i) => {
    text += render(value) + (strings[i + 1] ?? '');
  });
  return new Html(text);
}

function render(value: Part): string {
  if (value instanceof Html) return value.text;
  return typeof value === 'object' ? value.map((part) => part.text).join('') : escapeHtml(String(value));
}

/** The whole page. */
export function renderPage(facts: Facts): string {
  const first = facts.interface.addresses[0]?.address.split('/')[0] ?? '';
  return document(
    first === '' ? 'tapstack' : `tapstack on ${first}`,
    html`<header>
      ${MARK}
      <div>
        <h1>tapstack</h1>
        <p>This page came to you through a TCP/IP stack written in TypeScript, running as an ordinary process.</p>
      </div>
    </header>
    <main id="main">
      ${summary(facts)} ${layers(facts)} ${tryThis(facts, first)} ${connections(facts.connections)}
      ${counters(facts)}
    </main>
    <footer>
      <label hidden><input type="checkbox" id="live"> Refresh every two seconds</label>
      <p>tapstack ${facts.version} · <a href="/status.json">the same as JSON</a></p>
    </footer>
    <script>${new Html(PAGE_SCRIPT)}</script>`,
  );
}

/** A page that says why a request was not answered. */
export function renderProblem(status: number, message: string): string {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim();
  return document(
    title,
    html`<main><h1>${title}</h1><p>${message}</p><p><a href="/">Back to the start</a></p></main>`,
  );
}

function document(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${title}</title>
    <link rel="icon" href="data:image/svg+xml,${encodeURIComponent(ICON)}">
    <style>${new Html(STYLE)}</style>
  </head>
  <body>
    ${body}
  </body>
</html>
`.text;
}

function summary({ interface: link, link: traffic, uptime, connections: open, drops }: Facts): Html {
  const facts: [string, string][] = [
    ['Up for', duration(uptime)],
    ['Received', `${bytes(traffic.rxBytes)} in ${count(traffic.rxFrames)} frames`],
    ['Sent', `${bytes(traffic.txBytes)} in ${count(traffic.txFrames)} frames`],
    ['Connections', String(openConnections(open))],
    ['Dropped', count(dropCount(drops))],
    ['Link', `${link.name}, ${link.mac}, MTU ${link.mtu}`],
    ['Offload', link.offload.length === 0 ? 'none' : link.offload.join(', ')],
  ];
  return html`<section aria-labelledby="now">
    <h2 id="now">Now</h2>
    <dl class="cards">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  </section>`;
}

/** The way of a byte, from the application down to the wire. */
const LAYERS: readonly [name: string, what: string][] = [
  ['node:http', 'Node’s own, unchanged: it believes it has a kernel socket'],
  ['net.Socket', 'Node’s own; the handle beneath it is ours'],
  ['TCP', 'RFC 9293 and its family: sequence numbers, windows, retransmission, congestion control'],
  ['IP', 'addresses, routes, fragments; ICMP tells what went wrong'],
  ['Ethernet, ARP', 'frames, and whose link address an address has'],
  ['TAP', 'the kernel’s side of a cable that exists only in memory'],
];

function layers({ interface: link }: Facts): Html {
  return html`<section aria-labelledby="way">
    <h2 id="way">The way this page came</h2>
    <ol class="layers">${LAYERS.map(([name, what]) => html`<li><strong>${name}</strong> <span>${what}</span></li>`)}</ol>
    <p>Addresses: ${list(link.addresses.map((a) => html`<code>${a.address}</code> (${a.state})`))}</p>
  </section>`;
}

function list(parts: readonly Html[]): Html {
  return parts.length === 0 ? html`none` : new Html(parts.map((part) => part.text).join(', '));
}

function tryThis({ services }: Facts, address: string): Html {
  const has = (name: string) => services.some((service) => service.name === name);
  const http = services.find((service) => service.name === 'http');
  const site = `http://${address.includes(':') ? `[${address}]` : address}${http && http.port !== 80 ? `:${http.port}` : ''}`;
  const lines = [
    `ping ${address}`,
    `curl ${site}/bytes/100000000 -o /dev/null`,
    `curl --data-binary @README.md ${site}/hash`,
    ...(has('echo') ? [`nc ${address} 7`] : []),
    ...(has('chargen') ? [`nc ${address} 19 | head`] : []),
  ];
  return html`<section aria-labelledby="try">
    <h2 id="try">Try</h2>
    <pre tabindex="0" aria-label="Commands to try">${lines.join('\n')}</pre>
  </section>`;
}

function connections(open: readonly ConnectionFacts[]): Html {
  const rows = open
    .slice(0, MOST_ROWS)
    .map(
      (c) =>
        html`<tr><td>${c.protocol}</td><td><code>${c.local}</code></td><td><code>${c.remote}</code></td><td>${c.state}</td></tr>`,
    );
  const more = open.length > MOST_ROWS ? html`<p>and ${open.length - MOST_ROWS} more</p>` : html``;
  return html`<section aria-labelledby="open">
    <h2 id="open">Sockets</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="open"><table>
      <thead><tr><th scope="col">Protocol</th><th scope="col">Here</th><th scope="col">There</th><th scope="col">State</th></tr></thead>
      <tbody>${rows}</tbody>
    </table></div>
    ${more}
  </section>`;
}

function counters({ counters: groups, drops }: Facts): Html {
  const shown = Object.entries({ ...groups, 'dropped, by reason': drops })
    .map(([name, group]) => [name, Object.entries(group).filter(([, value]) => value !== 0)] as const)
    .filter(([, entries]) => entries.length > 0);
  return html`<section aria-labelledby="counters">
    <h2 id="counters">Counters</h2>
    <p>Those that are not zero, under the names of RFC 4022, 4113 and 4293.</p>
    <div class="groups">${shown.map(
      ([name, entries]) =>
        html`<table><caption>${name}</caption><tbody>${entries.map(
          ([key, value]) => html`<tr><th scope="row">${key}</th><td>${value.toLocaleString('en')}</td></tr>`,
        )}</tbody></table>`,
    )}</div>
  </section>`;
}

/** Fetches the page again while the box is ticked and the page is in view, and puts the new main part in. */
export const PAGE_SCRIPT = `
const live = document.getElementById('live');
live.closest('label').hidden = false;
setInterval(async () => {
  if (!live.checked || document.hidden) return;
  try {
    const answer = await fetch('/', { headers: { accept: 'text/html' } });
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    document.getElementById('main').replaceWith(fresh.getElementById('main'));
  } catch {
    live.checked = false;
  }
}, 2000);
`;

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="none" stroke="#0a7d6c" stroke-width="3" stroke-linejoin="round"><path d="M16 4l12 6-12 6L4 10z" fill="#0a7d6c"/><path d="M4 16l12 6 12-6M4 22l12 6 12-6"/></g></svg>';

const MARK = new Html(ICON.replace('<svg ', '<svg width="56" height="56" aria-hidden="true" '));

const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #1c1f1e; --soft: #5a625f; --line: #d9d8d1; --card: #fff; --accent: #0a6b5d;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #131716; --ink: #e8ebe9; --soft: #a3ada9; --line: #2d3533; --card: #1a201e; --accent: #5fd0bb; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
header { display: flex; gap: 1rem; align-items: center; }
header svg { flex: none; }
h1 { margin: 0; font-size: 2rem; letter-spacing: -0.02em; }
h2 { margin: 2rem 0 0.75rem; font-size: 1.15rem; }
p { margin: 0.25rem 0; }
header p, footer, .layers span, dt, caption { color: var(--soft); }
a { color: var(--accent); }
code, pre, td, dd { font-family: ui-monospace, monospace; font-variant-numeric: tabular-nums; }
pre { margin: 0; padding: 0.9rem 1rem; overflow: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.5rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 0.75rem; margin: 0; }
.cards div { padding: 0.7rem 0.9rem; background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; }
dt { font-size: 0.85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.layers { list-style: none; margin: 0 0 0.75rem; padding: 0; border: 1px solid var(--line); border-radius: 0.5rem;
  overflow: hidden; }
.layers li { display: grid; grid-template-columns: 9rem 1fr; gap: 1rem; padding: 0.5rem 0.9rem; background: var(--card);
  border-left: 0.3rem solid var(--accent); }
.layers li + li { border-top: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
caption { text-align: left; padding: 0.3rem 0; font-weight: 600; }
th, td { padding: 0.3rem 0.6rem 0.3rem 0; text-align: left; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--soft); }
.groups { columns: 19rem; column-gap: 2rem; }
.groups table { break-inside: avoid; margin-bottom: 1rem; }
.groups td { text-align: right; padding-right: 0; }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); display: flex; flex-wrap: wrap;
  gap: 0.5rem 2rem; justify-content: space-between; }
label[hidden] { display: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 36rem) { .layers li { grid-template-columns: 1fr; gap: 0; } }
`;
