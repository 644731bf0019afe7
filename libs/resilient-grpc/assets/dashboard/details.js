import { faultsOf, shownMs } from './client-state.js';
import { age, count, counted, duration, moment, momentAndAge, NONE, percent, rate } from './format.js';
import { CallCharts, ClientHead } from './client-view.js';
import { copyButton } from './copy.js';
import { Children, el, Meter, panel, setAttribute, setText } from './parts.js';
import { StateStrip, StateTotals } from './state-strip.js';
import { callTables, connectionTables } from './details-tables.js';

/** Details of one client, problems first. */
export class Details {
  constructor() {
    this.head = new ClientHead();
    this.facts = new Facts();
    this.outage = new Facts();
    this.outageNow = panel('This outage', this.outage.element);
    this.drain = new Facts();
    this.drainNow = panel('Drain', this.drain.element);
    this.command = el('code', { class: 'command', tabindex: '0', 'aria-label': 'Doctor command' });
    this.commandNote = el('p', {
      class: 'dim',
      text: 'Replace each FILE with the path of a file. The client options contain the content of the file, not its path.',
    });
    this.commands = el(
      'div',
      {},
      el('p', { text: 'Run the doctor on the machine on which the application runs:' }),
      this.command,
      this.commandNote,
    );
    this.remedy = el('p', { class: 'sentence' });
    this.copyCommand = copyButton('Copy the command', () => this.snapshot.doctorCommand);
    this.cause = panel(
      'Find the cause',
      this.remedy,
      this.commands,
      el(
        'p',
        { class: 'actions' },
        this.copyCommand,
        copyButton('Copy the snapshot (JSON)', () => JSON.stringify(this.snapshot, null, 2)),
      ),
    );
    this.strip = new StateStrip();
    this.stripFrom = el('span');
    this.stripKey = new StateTotals();
    this.stripPanel = panel(
      'Connection state',
      this.strip.element,
      el('p', { class: 'strip-axis' }, this.stripFrom, el('span', { text: 'now' })),
      this.stripKey.element,
    );
    this.charts = new CallCharts();
    this.retries = new Meter(
      'retries',
      'A retry costs a token, and tokens return with successful calls and over time. Retries stop below one token. With retryThrottling, a failure costs a token, only successful calls return tokens, and retries stop at half the maximum.',
    );
    this.hedges = new Meter(
      'hedges',
      'A hedge costs a token. Each call that may be hedged returns 0.05 tokens, so hedges are limited to 5% of these calls, plus five.',
    );
    this.tables = callTables();
    this.more = connectionTables();
    this.totals = new Facts();
    this.endpoints = panel('Endpoints', this.more.endpoints.element);
    this.element = el(
      'article',
      { class: 'details' },
      this.head.element,
      this.facts.element,
      this.outageNow,
      this.cause,
      this.drainNow,
      this.stripPanel,
      this.charts.element,
      panel('Last errors', this.tables.errors.element),
      panel('Methods', this.tables.methods.element),
      this.endpoints,
      el(
        'div',
        { class: 'pair' },
        panel('Why calls failed', this.tables.failures.element, this.tables.notRetried.element),
        panel('Past outages', this.more.outages.element),
        panel('Connections', this.more.connections.element),
        panel(
          'Limits',
          this.retries.element,
          this.hedges.element,
          this.more.hedgingDelays.element,
          this.more.circuits.element,
          this.more.limits.element,
        ),
      ),
      panel('Streams', this.more.streams.element, this.more.moreStreams),
      panel('Since creation', this.totals.element),
    );
  }

  show(client, now) {
    const { snapshot } = client;
    const assessment = client.assess(now);
    this.head.show(client, assessment);
    this.snapshot = { version: 1, at: new Date(client.at).toISOString(), ...snapshot };
    this.cause.hidden = assessment.tone !== 'bad' && assessment.tone !== 'warn';
    const { doctorCommand, connectivity } = snapshot;
    // A target that the doctor does not support has no command.
    this.commands.hidden = this.copyCommand.hidden = doctorCommand === undefined;
    setText(this.command, doctorCommand ?? '');
    this.commandNote.hidden = !/ FILE\b/.test(doctorCommand);
    this.remedy.hidden = connectivity.lastFailure === undefined;
    setText(this.remedy, sentenceOf(connectivity.lastFailure?.remedy));
    this.#showNow(client, now);
    const windowMs = shownMs(client.oldest, now);
    this.strip.show(snapshot, now, windowMs);
    this.stripKey.show(snapshot, now, windowMs);
    setText(this.stripFrom, `${duration(windowMs)} ago`);
    this.#draw(client, now, windowMs);
    for (const table of Object.values(this.tables)) table.show(table.itemsOf(snapshot), now);
    this.#showMore(snapshot, now);
  }

  #showNow(client, now) {
    const { recent, waiting, waitingForStream, oldestWaitMs, active, streams, connectivity, drain } = client.snapshot;
    const share = recent.failed === 0 ? '0' : `${count(recent.failed)} (${percent(recent.failed, recent.ended)})`;
    this.facts.show([
      ['calls', rate(client.rateNow('started'))],
      [`failed in ${age(recent.windowMs)}`, recent.ended === 0 ? NONE : share, faultsOf(recent.codes) > 0 && 'bad'],
      ['waiting', count(waiting), waiting > 0 && 'warn'],
      ['waiting for a stream', count(waitingForStream), waitingForStream > 0 && 'warn'],
      ['oldest wait', waiting === 0 ? NONE : duration(oldestWaitMs), waiting > 0 && 'warn'],
      ['retries', rate(client.rateNow('retried'))],
      ['running', count(active)],
      ['streams', count(streams?.total ?? 0)],
    ]);
    const { outage, lastError, state } = connectivity;
    this.outageNow.hidden = outage === undefined;
    if (outage) {
      const left = Date.parse(outage.graceEndsAt) - now;
      const next = outage.nextAttemptAt && Date.parse(outage.nextAttemptAt) - now;
      const nextText =
        next === undefined
          ? state === 'CONNECTING'
            ? 'in progress'
            : NONE
          : next > 50
            ? `in ${duration(next)}`
            : 'now';
      this.outage.show([
        ['since', momentAndAge(outage.since, now)],
        [
          'calls',
          left > 0
            ? `waiting; fail in ${duration(left)}`
            : `failing immediately since ${moment(outage.graceEndsAt, now)}`,
          left > 0 ? 'warn' : 'bad',
        ],
        ['connection attempts', `${count(outage.connectAttempts)} failed`],
        ['next attempt', nextText],
        ...(outage.flapping ? [['flapping', 'three outages in a minute share one grace period', 'bad']] : []),
        ['last error', lastError ?? NONE, '', 'wide'],
      ]);
    }
    this.drainNow.hidden = drain.state === 'none';
    const { report } = drain;
    this.drain.show([
      ['state', drain.state],
      ['still running', count(active)],
      ...(report
        ? [
            ['calls finished', count(report.finished)],
            ['streams completed', count(report.completed)],
            ['cut off', count(report.cancelled), report.cancelled > 0 && 'bad'],
            ['duration', duration(report.durationMs)],
          ]
        : []),
    ]);
  }

  #draw(client, now, windowMs) {
    const { outages, connectivity } = client.snapshot;
    const past = (outages?.latest ?? []).flatMap(({ since, durationMs }) => [
      { atSeconds: Date.parse(since) / 1_000, well: false },
      { atSeconds: (Date.parse(since) + durationMs) / 1_000, well: true },
    ]);
    const present = connectivity.outage
      ? [{ atSeconds: Date.parse(connectivity.outage.since) / 1_000, well: false }]
      : [];
    const shown = { min: (now - windowMs) / 1_000, max: now / 1_000, marks: [...past, ...present] };
    const waits = () => [client.column('at').map((ms) => ms / 1_000), client.column('waiting')];
    this.charts.draw((fields) => (fields[0] === 'waiting' ? waits() : client.rates(fields)), shown);
  }

  #showMore(snapshot, now) {
    const { connections, outages, streams, circuits, limits, retryBudget, hedgeBudget, counters } = snapshot;
    const { waits, createdAt, resolution, hedgingDelays } = snapshot;
    // Missing until the details arrive.
    if (streams === undefined) return;
    this.more.connections.show(connections, now);
    // Empty if the client neither ejects endpoints nor checks their health.
    const endpoints = connections.filter(({ share, health }) => share !== undefined || health !== undefined);
    this.endpoints.hidden = endpoints.length === 0;
    this.more.endpoints.show(endpoints, now);
    this.more.outages.show(outages.latest.toReversed(), now);
    this.more.streams.show(
      streams.oldest.map((stream, position) => ({ ...stream, position })),
      now,
    );
    const hidden = streams.total - streams.oldest.length;
    this.more.moreStreams.hidden = hidden <= 0;
    setText(this.more.moreStreams, `and ${counted(hidden, 'younger stream')}`);
    this.more.circuits.show(circuits, now);
    this.more.limits.show(limits, now);
    this.more.hedgingDelays.show(hedgingDelays, now);
    this.retries.show(retryBudget);
    this.hedges.show(hedgeBudget);
    this.totals.show([
      ['created', momentAndAge(createdAt, now)],
      ['calls started', count(counters.started)],
      ['succeeded', count(counters.succeeded)],
      ['failed', count(counters.failed), counters.failed > 0 && 'bad'],
      ['cancelled by callers', count(counters.cancelled)],
      ['attempts', count(counters.attempts)],
      ['retries', count(counters.retried)],
      ['hedges', count(counters.hedged)],
      ['streams resumed', count(counters.resumed)],
      ['connections replaced', count(counters.replaced)],
      ['outages', count(outages.total)],
      ['waits released', count(waits.released)],
      ['waits failed', count(waits.refused), waits.refused > 0 && 'bad'],
      ['waits abandoned', count(waits.abandoned)],
      ['resolved addresses', count(resolution.addresses)],
      [
        'last lookup',
        resolution.lastLookupAt ? momentAndAge(resolution.lastLookupAt, now) : NONE,
        resolution.failing && 'bad',
      ],
      [
        'next lookup',
        resolution.nextLookupAt ? `in ${duration(Math.max(0, Date.parse(resolution.nextLookupAt) - now))}` : NONE,
      ],
      ...(resolution.watch ? watchFacts(resolution.watch, now) : []),
    ]);
  }
}

/** Writes a remedy such as 'start the server' as a sentence. */
function sentenceOf(text = '') {
  return text === '' ? '' : `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

/** Returns facts about the watch of a `kubernetes:` target. */
function watchFacts({ state, since, endpoints, changedAt, server, error, remedy }, now) {
  const { ready, notReady, terminating } = endpoints ?? {};
  return [
    [
      'endpoints in Kubernetes',
      endpoints ? `${count(ready)} ready, ${count(notReady)} not ready, ${count(terminating)} terminating` : NONE,
      ready === 0 && 'bad',
    ],
    ['last change of endpoints', changedAt ? momentAndAge(changedAt, now) : NONE],
    [`watch at ${server}`, `${state} since ${momentAndAge(since, now)}`, state === 'failing' && 'bad'],
    ...(error ? [['error of the watch', error, 'bad', 'wide']] : []),
    ...(remedy ? [['remedy', remedy, '', 'wide']] : []),
  ];
}

/** List of names and values. Each entry is [name, value, tone?, 'wide'?]. A wide entry fills a row. */
export class Facts {
  constructor() {
    this.element = el('dl', { class: 'facts' });
    this.children = new Children(this.element, () => {
      const [name, value] = [el('dt'), el('dd')];
      const element = el('div', {}, name, value);
      return {
        element,
        show: ([nameText, valueText, tone, width]) => {
          setText(name, nameText);
          setText(value, valueText);
          setAttribute(value, 'data-tone', tone || '');
          setAttribute(element, 'data-width', width || '');
        },
      };
    });
  }

  show(facts) {
    this.children.show(facts, ([name]) => (name.startsWith('failed in') ? 'failed' : name));
  }
}
