import type { ConnectionSnapshot } from '../../call/connectivity.js';
import type { GrpcClientSnapshot } from '../../client/client-snapshot.js';
import type { DashboardServer } from '../../dashboard/dashboard-feed.js';
import { counted, duration, oneLine } from '../../telemetry/log/log-text.js';
import { moment } from '../../time/clock.js';
import type { Paint } from '../render-results.js';
import type { Assessment, ClientView } from '../client-view.js';

/** Content of one frame. */
export interface Frame {
  readonly url: string;
  /** Time of the snapshot in milliseconds since 1970, by the clock of the application. */
  readonly at: number;
  readonly accepting: boolean;
  readonly clients: readonly ClientView[];
  readonly servers: readonly DashboardServer[];
  /** Reason why the data is old, and the data's age in milliseconds; `undefined` if the data is current. */
  readonly lost?: { readonly message: string; readonly ageMs: number } | undefined;
}

/** Maximum number of endpoints shown per client. */
const MAX_ENDPOINTS = 8;
/** Minimum width of an address in characters: the length of '10.100.100.100:50051'. */
const ADDRESS_WIDTH = 20;
const INDENT = '  ';
const TONES = { bad: 'red', warn: 'yellow', ok: 'green', off: 'dim' } as const;
type Color = Parameters<Paint>[0];

/** Part of a line with its color. Widths are computed without colors. */
interface Cell {
  readonly text: string;
  readonly width: number;
  readonly right?: boolean;
  readonly color?: Color | undefined;
}

/**
 * Renders a frame as lines of at most `columns` characters; `columns` must be at least 40. Shows the clients, each with its endpoints, and
 * then the servers. Clients with problems come first. Rows that do not fit end with an ellipsis.
 */
export function renderFrame(frame: Frame, columns: number, paint: Paint): readonly string[] {
  const { url, at, accepting, clients, servers, lost } = frame;
  const time = moment(at).toTimeString().slice(0, 8);
  const summary = [
    accepting ? 'accepting calls' : 'shutting down',
    counted(clients.length, 'client'),
    ...(servers.length > 0 ? [counted(servers.length, 'server')] : []),
  ].join(', ');
  const assessed = clients
    .map((client) => ({ client, assessment: client.assess(at) }))
    .sort((one, other) => other.assessment.rank - one.assessment.rank);
  // Old data is dimmed, because colors describe the current state.
  const paintRows: Paint = lost === undefined ? paint : (_color, text) => paint('dim', text);
  return [
    row([cell(url, columns - time.length - 2), cell(time, time.length)], columns, paint),
    ...(lost === undefined
      ? [paint(accepting ? 'dim' : 'yellow', cut(summary, columns))]
      : wrap(`no data for ${duration(lost.ageMs)}: ${oneLine(lost.message)}`, columns).map((line) =>
          paint('red', line),
        )),
    '',
    ...clientTable(assessed, at, columns, paintRows),
    ...(servers.length > 0 ? ['', ...serverTable(servers, at, columns, paintRows)] : []),
  ];
}

const NUMBERS = [8, 8, 8, 7] as const;
const WORD_WIDTH = 12;

function clientTable(
  clients: readonly { readonly client: ClientView; readonly assessment: Assessment }[],
  at: number,
  columns: number,
  paint: Paint,
): readonly string[] {
  if (clients.length === 0) return [paint('dim', 'no clients')];
  const nameWidth = nameWidthOf(columns, WORD_WIDTH, ...NUMBERS);
  const header = (text: string, width: number, right = true): Cell => ({ text, width, right, color: 'dim' });
  const [calls, failed, waiting, open] = NUMBERS;
  return [
    row(
      [
        header('CLIENT', nameWidth, false),
        header('STATE', WORD_WIDTH, false),
        header('CALLS/S', calls),
        header('FAILED', failed),
        header('WAITING', waiting),
        header('OPEN', open),
      ],
      columns,
      paint,
    ),
    ...clients.flatMap(({ client, assessment }) => {
      const { snapshot } = client;
      const { name, recent } = snapshot;
      const perSecond = client.rateNow('started') ?? (recent.ended * 1_000) / Math.max(recent.windowMs, 1);
      const number = (text: string, width: number, color?: Color): Cell => ({ text, width, right: true, color });
      return [
        row(
          [
            cell(name, nameWidth),
            { text: assessment.word, width: WORD_WIDTH, color: TONES[assessment.tone] },
            number(rate(perSecond), calls),
            number(share(recent.failed, recent.ended), failed, recent.failed > 0 ? 'yellow' : undefined),
            number(String(snapshot.waiting), waiting, snapshot.waiting > 0 ? 'yellow' : undefined),
            number(String(snapshot.active), open),
          ],
          columns,
          paint,
        ),
        ...details(snapshot, assessment, at)
          .flatMap((text) => wrap(text, columns - INDENT.length))
          .map((line) => INDENT + paint('dim', line)),
        ...endpoints(snapshot.connections, at, columns, paint),
      ];
    }),
  ];
}

/** Returns the sentences about one client. */
function details(snapshot: GrpcClientSnapshot, { sentence }: Assessment, at: number): readonly string[] {
  const { connectivity, oldestWaitMs, outages, retryBudget } = snapshot;
  const { outage } = connectivity;
  const lines = [`${oneLine(snapshot.target)}: ${oneLine(sentence)}`];
  if (outage !== undefined) {
    const next = outage.nextAttemptAt === undefined ? '' : `, next in ${duration(until(outage.nextAttemptAt, at))}`;
    const wait = oldestWaitMs > 0 ? `, longest wait ${duration(oldestWaitMs)}` : '';
    lines.push(
      `outage since ${clockTime(outage.since)}: ${counted(outage.connectAttempts, 'failed attempt')}${next}${wait}`,
    );
  }
  const last = outages.latest.at(-1);
  if (last !== undefined) {
    const { since, durationMs, waitedCalls, failedCalls, cause } = last;
    const calls = `${counted(waitedCalls, 'call')} waited, ${String(failedCalls)} failed`;
    const count = outages.total === 1 ? 'last outage' : `last of ${String(outages.total)} outages`;
    lines.push(`${count} at ${clockTime(since)} for ${duration(durationMs)}, ${calls}: ${oneLine(cause)}`);
  }
  // Compared with `false`, because snapshots from earlier releases have no `allows`. The line is then omitted.
  if ((retryBudget as Partial<typeof retryBudget>).allows === false) {
    lines.push(`no retries: ${retryBudget.tokens.toFixed(1)} of ${String(retryBudget.maxTokens)} tokens left`);
  }
  return lines;
}

/** Renders the addresses of a client, one per line. A single address that is not ejected needs no line. */
function endpoints(
  connections: readonly ConnectionSnapshot[],
  at: number,
  columns: number,
  paint: Paint,
): readonly string[] {
  const shown = connections.filter(({ state }) => state !== 'SHUTDOWN');
  if (shown.length < 2 && shown.every(({ ejected }) => ejected === undefined)) return [];
  const [state, streams, latency] = [18, 9, 8];
  const notes = 20;
  const width = Math.max(ADDRESS_WIDTH, nameWidthOf(columns - INDENT.length, state, streams, latency, notes));
  const lines = shown.slice(0, MAX_ENDPOINTS).map((one) => {
    const { open, limit } = one.streams ?? {};
    const cells: Cell[] = [
      cell(one.address, width),
      { text: one.state, width: state, color: STATE_COLORS[one.state] ?? 'dim' },
      {
        text: open === undefined ? '' : `${String(open)}${limit === undefined ? '' : `/${String(limit)}`}`,
        width: streams,
      },
      { text: one.latencyMs === undefined ? '' : duration(one.latencyMs), width: latency },
      { text: noteOf(one, at), width: notes, color: 'yellow' },
    ];
    return INDENT + row(cells, columns - INDENT.length, paint);
  });
  const more = shown.length - MAX_ENDPOINTS;
  return more > 0 ? [...lines, INDENT + paint('dim', `and ${counted(more, 'more endpoint')}`)] : lines;
}

const STATE_COLORS: Readonly<Record<string, Color>> = {
  READY: 'green',
  TRANSIENT_FAILURE: 'red',
  CONNECTING: 'yellow',
};

function noteOf({ ejected, health, weight }: ConnectionSnapshot, at: number): string {
  if (ejected !== undefined) return `ejected ${duration(until(ejected.until, at))} (${ejected.reason})`;
  if (health !== undefined && health !== 'serving') return health;
  return weight !== undefined && weight < 1 ? `slow start ${(weight * 100).toFixed(0)}%` : '';
}

function serverTable(
  servers: readonly DashboardServer[],
  at: number,
  columns: number,
  paint: Paint,
): readonly string[] {
  const numbers = [8, 8, 8] as const;
  const width = nameWidthOf(columns, WORD_WIDTH + 8, ...numbers);
  const header = (text: string, cellWidth: number, right = true): Cell => ({
    text,
    width: cellWidth,
    right,
    color: 'dim',
  });
  return [
    row(
      [
        header('SERVER', width, false),
        header('OVERLOAD', WORD_WIDTH + 8, false),
        header('RUNNING', numbers[0]),
        header('WAITING', numbers[1]),
        header('REFUSED', numbers[2]),
      ],
      columns,
      paint,
    ),
    ...servers.map(({ address, overload }) => {
      const { since, limits, queued, shed } = overload;
      const limit = limits.find(({ path }) => path === undefined) ?? limits[0];
      const running = limit === undefined ? '' : `${String(limit.running)}/${String(limit.maxConcurrent)}`;
      const overloaded: Pick<Cell, 'text' | 'color'> =
        since === undefined
          ? { text: 'no', color: 'green' }
          : { text: `for ${duration(at - Date.parse(since))}`, color: 'red' };
      return row(
        [
          cell(address, width),
          { ...overloaded, width: WORD_WIDTH + 8 },
          { text: running, width: numbers[0], right: true },
          { text: String(queued), width: numbers[1], right: true, color: queued > 0 ? 'yellow' : undefined },
          { text: String(shed), width: numbers[2], right: true, color: shed > 0 ? 'yellow' : undefined },
        ],
        columns,
        paint,
      );
    }),
  ];
}

function cell(text: string, width: number): Cell {
  return { text, width };
}

/** Joins cells, each escaped and cut or padded to its width, and cuts the row to `columns`. */
function row(cells: readonly Cell[], columns: number, paint: Paint): string {
  const padded = cells.map(({ text, width, right = false }) => {
    const short = cut(oneLine(text), width);
    return right ? short.padStart(width) : short.padEnd(width);
  });
  const short = cut(padded.join(' ').trimEnd(), columns);
  // Adds the colors last, because they have no width. Each painted part consists of a cell and the space after it.
  let end = 0;
  const painted = cells.map(({ width, color }) => {
    const start = end;
    end += width + 1;
    const text = short.slice(start, end);
    return color === undefined || text === '' ? text : paint(color, text);
  });
  return painted.join('');
}

/** Returns the width that remains for the first column, at least 8. `others` are the widths of the other columns, without separators. */
function nameWidthOf(columns: number, ...others: readonly number[]): number {
  return Math.max(
    8,
    others.reduce((left, width) => left - width - 1, columns),
  );
}

function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, Math.max(width - 1, 0))}…` : text;
}

/** Escapes text and breaks it at spaces. A word that is longer than a line is broken, too. */
function wrap(text: string, columns: number): readonly string[] {
  const width = Math.max(columns, 20);
  const lines: string[] = [];
  let line = '';
  for (const word of oneLine(text, Infinity)
    .split(' ')
    .flatMap((one) => one.match(new RegExp(`.{1,${String(width)}}`, 'gu')) ?? [''])) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : perSecond.toFixed(0);
}

function share(part: number, all: number): string {
  if (part === 0) return all === 0 ? '-' : '0%';
  const percent = (part / all) * 100;
  return percent < 0.1 ? '<0.1%' : `${percent.toFixed(percent < 10 ? 1 : 0)}%`;
}

function until(time: string, at: number): number {
  return Math.max(0, Date.parse(time) - at);
}

function clockTime(time: string): string {
  return moment(Date.parse(time)).toTimeString().slice(0, 8);
}
