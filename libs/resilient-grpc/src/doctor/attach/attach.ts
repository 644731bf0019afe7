import { errorMessage } from '../../errors/error-message.js';
import { problemMessage } from '../../policy/options/describe-value.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import { plainPaint, terminalPaint, type Paint } from '../render-results.js';
import { within } from '../time-budget.js';
import { loadClientView, type ClientView } from '../client-view.js';
import { readSnapshot, type Dashboard, type SnapshotRead } from './read-snapshot.js';
import { renderFrame, type Frame } from './render-frame.js';

/** The terminal that shows the frames. */
export interface AttachTerminal {
  readonly stdout: {
    write(text: string): unknown;
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
    hasColors?(): boolean;
  };
  readonly stderr: { write(text: string): unknown };
  /** Source of keys. If absent, no keys are read. */
  readonly stdin?: Keys | undefined;
}

/** The keyboard. */
export interface Keys {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
  on(event: 'data', listener: (bytes: Buffer) => void): unknown;
  off(event: 'data', listener: (bytes: Buffer) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

const REFRESH_MS = 1_000;
/** Width in columns if the output is a file or a pipe, or a terminal that reports no width. */
const DEFAULT_COLUMNS = 80;
/** Height in rows of a terminal that reports no height. */
const DEFAULT_ROWS = 24;

const UNREADABLE = 'check the URL, and run the doctor from the same release as the application';

const OPEN_SCREEN = '\u001b[?1049h\u001b[?25l';
const CLOSE_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const ERASE_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';
const CTRL_C = '\u0003';

/**
 * Shows the state of a running application until `q`, Ctrl-C, SIGINT, or SIGTERM. Shows it only once if there is no terminal or if `once`
 * is true. Returns exit code 1 if the first request to the dashboard fails, otherwise 0. Later failures are shown, and the request is
 * repeated.
 */
export async function attach(dashboard: Dashboard, once: boolean, terminal: AttachTerminal): Promise<number> {
  const { stdout, stderr } = terminal;
  const frames = new Frames(dashboard.url.href, await loadClientView());
  const first = frames.checked(await readSnapshot(dashboard));
  if (!first.ok) {
    const [message, remedy] = first.finding;
    stderr.write(`${message}\n-> ${remedy}\n`);
    return 1;
  }
  frames.take(first);
  const paint = stdout.isTTY === true && stdout.hasColors?.() !== false ? terminalPaint : plainPaint;
  if (once || stdout.isTTY !== true) {
    stdout.write(`${renderFrame(frames.current(), columnsOf(stdout), paint).join('\n')}\n`);
    return 0;
  }
  await showUntilQuit(dashboard, frames, paint, terminal);
  return 0;
}

async function showUntilQuit(
  dashboard: Dashboard,
  frames: Frames,
  paint: Paint,
  { stdout, stdin }: AttachTerminal,
): Promise<void> {
  let quit: () => void = () => undefined;
  const untilQuit = new Promise<'quit'>((resolve) => {
    quit = () => {
      resolve('quit');
    };
  });
  const onKey = (bytes: Buffer): void => {
    const keys = bytes.toString('latin1');
    if (keys.includes('q') || keys.includes(CTRL_C)) quit();
  };
  if (stdin?.isTTY === true) {
    stdin.setRawMode?.(true);
    stdin.on('data', onKey);
    stdin.resume();
  }
  // Restores the terminal after a signal from another process, too. In raw mode, Ctrl-C is a key and sends no signal.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, quit);
  stdout.write(OPEN_SCREEN);
  try {
    for (;;) {
      stdout.write(screenOf(frames.current(), paint, stdout));
      if ((await within<'quit' | undefined>(REFRESH_MS, untilQuit, undefined)) === 'quit') return;
      const read = await Promise.race([readSnapshot(dashboard), untilQuit]);
      if (read === 'quit') return;
      frames.take(frames.checked(read));
    }
  } finally {
    stdout.write(CLOSE_SCREEN);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, quit);
    if (stdin?.isTTY === true) {
      stdin.off('data', onKey);
      stdin.setRawMode?.(false);
      stdin.pause();
    }
  }
}

/** Renders a frame as text that overwrites the previous frame, and cuts the text to the height of the terminal. */
function screenOf(frame: Frame, paint: Paint, stdout: AttachTerminal['stdout']): string {
  const lines = renderFrame(frame, columnsOf(stdout), paint);
  const { rows = 0 } = stdout;
  const height = Math.max((rows === 0 ? DEFAULT_ROWS : rows) - 2, 1);
  const fits = lines.length <= height;
  const shown = fits ? lines : lines.slice(0, height - 1);
  const rest = fits ? [] : [paint('dim', `${String(lines.length - shown.length)} more lines; enlarge the terminal`)];
  const text = [...shown, ...rest].map((line) => `${line}${ERASE_LINE}\r\n`).join('');
  return `${HOME}${text}${ERASE_LINE}\r\n${ERASE_BELOW}${paint('dim', 'q quits')}`;
}

/** Throws if the time or the state of a snapshot is invalid, because `renderFrame` would show wrong data instead of throwing. */
function requireTimeAndState({ at, accepting }: { readonly at: unknown; readonly accepting: unknown }): void {
  if (typeof at !== 'string' || Number.isNaN(Date.parse(at))) throw new Error(`at: ${problemMessage('a time', at)}`);
  if (typeof accepting !== 'boolean') throw new Error(`accepting: ${problemMessage('true or false', accepting)}`);
}

/** Returns the width of the output. A terminal without a size, as in some containers, reports 0. */
function columnsOf({ columns = 0 }: AttachTerminal['stdout']): number {
  return columns === 0 ? DEFAULT_COLUMNS : columns;
}

/** State of the clients over several snapshots. */
class Frames {
  private readonly views = new Map<string, ClientView>();
  private frame: Frame;
  private lost: { readonly message: string; readonly since: number } | undefined;
  private takenAt = systemClock.now();

  constructor(
    url: string,
    private readonly createView: (key: string) => ClientView,
  ) {
    this.frame = { url, at: 0, accepting: true, clients: [], servers: [] };
  }

  /** Takes the next snapshot. Keeps the previous data if the snapshot could not be read. */
  take(read: SnapshotRead): void {
    if (!read.ok) {
      this.lost = { message: read.finding[0], since: this.takenAt };
      return;
    }
    const { at: time, accepting, clients, servers } = read.snapshot;
    const at = Date.parse(time);
    this.lost = undefined;
    this.takenAt = systemClock.now();
    // Adds a number to each name, because several clients can have the same name.
    const counts = new Map<string, number>();
    const keys = clients.map(({ name }) => {
      const count = counts.get(name) ?? 0;
      counts.set(name, count + 1);
      return `${name} ${String(count)}`;
    });
    const kept = new Set(keys);
    for (const key of this.views.keys()) if (!kept.has(key)) this.views.delete(key);
    clients.forEach((client, index) => {
      const key = keys[index] ?? client.name;
      const view = this.views.get(key) ?? this.createView(key);
      this.views.set(key, view);
      // Discards the earlier samples of a client that was recreated, for example because its process restarted.
      view.takeWhole(client);
      view.take(client, at);
    });
    const views = keys.flatMap((key) => this.views.get(key) ?? []);
    this.frame = { url: this.frame.url, at, accepting, clients: views, servers };
  }

  /**
   * Returns `read`, or a finding if its snapshot lacks a property that a frame needs. A server can send any JSON, so the snapshot is
   * rendered once without being shown.
   */
  checked(read: SnapshotRead): SnapshotRead {
    if (!read.ok) return read;
    const { at: time, accepting, clients, servers } = read.snapshot;
    const { url } = this.frame;
    try {
      requireTimeAndState(read.snapshot);
      const at = Date.parse(time);
      const views = clients.map((client) => {
        const view = this.createView('');
        view.take(client, at);
        return view;
      });
      renderFrame({ url, at, accepting, clients: views, servers }, DEFAULT_COLUMNS, plainPaint);
      return read;
    } catch (error) {
      const message = `${url} sends a snapshot that the doctor cannot show: ${oneLine(errorMessage(error))}`;
      return { ok: false, finding: [message, UNREADABLE] };
    }
  }

  current(): Frame {
    if (this.lost === undefined) return this.frame;
    const { message, since } = this.lost;
    return { ...this.frame, lost: { message: `${message}; trying again`, ageMs: systemClock.now() - since } };
  }
}
