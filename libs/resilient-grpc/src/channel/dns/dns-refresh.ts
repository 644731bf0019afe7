import { dnsRefreshDelayMs } from '../../policy/reconnect/reconnect-times.js';
import { runOutside, type Clock, type Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

export interface DnsName {
  /** Host name or address, without a port. */
  readonly host: string;
  /** 'ip' or 'ip:port' of the name server to query; `undefined` for the system's name servers. */
  readonly authority: string | undefined;
}

// 'dns:' and its authority are optional. Other schemes do not have DNS names.
const TARGET = /^(?:dns:(?:\/\/([^/]*)\/)?)?(\[[^\]]*\]|[^:/[\]]+)(?::\d+)?$/;

/** Returns the DNS name of a target with the scheme `dns:` or without a scheme; `undefined` for other schemes. */
export function dnsNameOf(target: string): DnsName | undefined {
  const [, authority, host] = TARGET.exec(target) ?? [];
  if (host === undefined) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), authority: authority === '' ? undefined : authority };
}

/**
 * Queue of the lookups that are due. A process runs at most one of these lookups at a time. If the name server does not respond, a lookup
 * blocks a thread for several seconds. By default, Node has only four such threads, which file access and cryptography also use.
 */
const due: DnsRefresh[] = [];
let running: DnsRefresh | undefined;

export class DnsRefresh {
  /** Time of the next lookup in milliseconds since 1970; `undefined` if none is scheduled. */
  nextAt: number | undefined;
  private timer: Timer | undefined;
  private failures = 0;
  private lookUp: (() => boolean) | undefined;
  private isClosed = false;

  constructor(
    private readonly refreshMs: number,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  /**
   * Handles the end of a lookup, and schedules the next one.
   *
   * @param lookUp requests a lookup; returns false if the channel does not need a lookup now, because it is idle
   */
  lookupEnded(ok: boolean, lookUp: () => boolean): void {
    if (this.isClosed) return;
    this.lookUp = lookUp;
    this.failures = ok ? 0 : this.failures + 1;
    this.release();
    this.schedule();
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
    this.nextAt = undefined;
    this.failures = 0;
    this.release();
  }

  close(): void {
    this.isClosed = true;
    this.stop();
  }

  private schedule(): void {
    this.timer?.clear();
    const delayMs = dnsRefreshDelayMs(this.refreshMs, this.failures, this.random);
    this.nextAt = this.clock.epoch() + delayMs;
    this.timer = this.clock.setTimer(this.lookupDue, delayMs);
  }

  private readonly lookupDue = (): void => {
    this.timer = undefined;
    due.push(this);
    // The request in which the channel connected, and its trace, may have ended long ago.
    runOutside(runNext);
  };

  /** Starts the lookup that is due, or schedules the next lookup if the channel is idle. */
  run(): void {
    if (this.lookUp?.() === true) return;
    this.release();
    this.schedule();
  }

  private release(): void {
    if (due.includes(this)) due.splice(due.indexOf(this), 1);
    if (running !== this) return;
    running = undefined;
    runNext();
  }
}

function runNext(): void {
  if (running !== undefined) return;
  running = due.shift();
  running?.run();
}
