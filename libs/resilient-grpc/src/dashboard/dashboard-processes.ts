import type { BeforeApplicationShutdown } from '@nestjs/common';
import { errorMessage } from '../errors/error-message.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import type { Clock, Timer } from '../time/clock.js';
import type { DashboardFeed } from './dashboard-feed.js';
import type { ProcessUrls } from './dashboard-options.js';
import type { EventStream } from './event-stream.js';
import { ProcessRelay, type RelayState } from './process-relay.js';
import { processUrl } from './process-url.js';

/** Key of the process that serves the page. The key of every other process is its URL. */
const OWN_KEY = 'self';
/** Maximum number of other processes. */
const MAX_PROCESSES = 100;
/** Interval in milliseconds at which the processes are listed while a page is open, and minimum interval between two listings. */
const LIST_INTERVAL_MS = 5_000;

/** A page's request for the events of processes. */
export interface ProcessVisit {
  readonly stream: EventStream;
  /** Headers for the requests to other processes. */
  readonly headers: Readonly<Record<string, string>>;
  /** Key of the client whose details are shown. */
  readonly openClient: string | undefined;
}

interface ProcessList {
  readonly urls: readonly string[];
  /** Reason why the list may be outdated. */
  readonly problem?: string;
}

/**
 * Relays the events of the listed processes to dashboard pages. Connects to a process only while an open page shows it.
 * Sends requests only to listed URLs: the relay of a URL is closed when the list no longer contains it.
 */
export class DashboardProcesses implements BeforeApplicationShutdown {
  private readonly logger = new LibraryLogger('ResilientGrpc');
  private readonly visits = new Set<EventStream>();
  private list: ProcessList = { urls: [] };
  private listing: Promise<ProcessList> | undefined;
  private listedAt = -Infinity;

  constructor(
    private readonly source: ProcessUrls,
    private readonly feed: DashboardFeed,
    private readonly clock: Clock,
  ) {}

  /** Ends the event streams of the pages, because the shutdown of the HTTP server would wait for them. */
  beforeApplicationShutdown(): void {
    for (const stream of this.visits) stream.end();
  }

  /** Sends the events of all processes, each with the key of its process. */
  visitAll({ stream, headers, openClient }: ProcessVisit): void {
    const relays = new Map<string, ProcessRelay>();
    const own = {
      openClient,
      get isBlocked() {
        return stream.isBlocked;
      },
      send: (event: string, json: string) => stream.send('process', JSON.stringify({ key: OWN_KEY, event }), json),
      end: () => stream.end(),
    };
    let sent: string | undefined;
    this.visit(stream, () => {
      this.feed.removeVisitor(own);
      for (const relay of relays.values()) relay.close();
    });
    this.feed.addVisitor(own);
    this.follow(stream, ({ urls, problem }) => {
      const shown = urls.slice(0, MAX_PROCESSES);
      const message = JSON.stringify({ keys: [OWN_KEY, ...shown], omitted: urls.length - shown.length, problem });
      if (message !== sent) stream.push('processes', message);
      sent = message;
      for (const [url, relay] of relays) {
        if (shown.includes(url)) continue;
        relay.close();
        relays.delete(url);
      }
      for (const key of shown) {
        if (relays.has(key)) continue;
        const sink = {
          event: async (event: string, json: string) => {
            await stream.writable();
            stream.push('process', JSON.stringify({ key, event }), json);
          },
          link: (state: RelayState, text?: string) => void this.sendLink(stream, { key, state, text }),
        };
        relays.set(key, new ProcessRelay(eventsUrl(key, openClient), headers, sink, this.clock));
      }
    });
  }

  /** Sends the events of the process with `key`, or the link state 'unlisted' while the process is not listed. */
  visitOne(key: string, { stream, headers, openClient }: ProcessVisit): void {
    if (key === OWN_KEY) {
      this.feed.addVisitor(stream);
      return;
    }
    let relay: ProcessRelay | undefined;
    this.visit(stream, () => relay?.close());
    const sink = {
      event: async (event: string, json: string) => {
        await stream.writable();
        stream.push(event, json);
      },
      link: (state: RelayState, text?: string) => void this.sendLink(stream, { state, text }),
    };
    let wasListed: boolean | undefined;
    this.follow(stream, ({ urls }) => {
      const isListed = urls.includes(key);
      if (isListed === wasListed) return;
      wasListed = isListed;
      relay?.close();
      if (isListed) relay = new ProcessRelay(eventsUrl(key, openClient), headers, sink, this.clock);
      else stream.push('link', JSON.stringify({ state: 'unlisted' }));
    });
  }

  /** Calls `onList` with the list now and at an interval, until `stream` closes. */
  private follow(stream: EventStream, onList: (list: ProcessList) => void): void {
    let timer: Timer | undefined;
    stream.onClose(() => timer?.clear());
    const refresh = async (): Promise<void> => {
      const list = await this.current();
      await stream.writable();
      // Creates no relays and no timer for a closed stream, because they would never be released.
      if (stream.isOver) return;
      onList(list);
      timer = this.clock.setTimer(() => void refresh(), LIST_INTERVAL_MS);
    };
    void refresh();
  }

  private visit(stream: EventStream, onClosed: () => void): void {
    this.visits.add(stream);
    stream.onClose(() => {
      this.visits.delete(stream);
      onClosed();
    });
  }

  private async sendLink(stream: EventStream, link: object): Promise<void> {
    await stream.writable();
    stream.push('link', JSON.stringify(link));
  }

  /** Returns the list of processes, which all pages share. Reads the list again if it was last read at least `LIST_INTERVAL_MS` ago. */
  private current(): Promise<ProcessList> {
    if (this.listing === undefined || this.clock.now() - this.listedAt >= LIST_INTERVAL_MS) {
      this.listedAt = this.clock.now();
      this.listing = this.read();
    }
    return this.listing;
  }

  private async read(): Promise<ProcessList> {
    try {
      const given = typeof this.source === 'function' ? await this.source() : this.source;
      this.list = { urls: [...new Set(given.map(processUrl))] };
    } catch (error) {
      const problem = `cannot list the processes: ${errorMessage(error)}`;
      if (this.list.problem !== problem) {
        const text = `dashboard ${problem}; the previous list stays in use`;
        this.logger.write('warn', text, { event: 'dashboard' });
      }
      this.list = { ...this.list, problem };
    }
    return this.list;
  }
}

function eventsUrl(key: string, openClient: string | undefined): URL {
  const url = new URL(`${key}/events`);
  if (openClient !== undefined) url.searchParams.set('client', openClient);
  return url;
}
