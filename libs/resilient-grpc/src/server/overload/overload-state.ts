import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent, ServerConcurrencyLimit, ServerOverload } from '../../call/server-event.js';
import { OVERLOAD_STAY_MS, type OverloadQueue } from '../../policy/overload/overload-queue.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import type { ServedMethod } from '../calls/served-call.js';

type OverloadSource = Pick<OverloadQueue<never>, 'size' | 'isOverloaded' | 'settle'>;
type LimitState = () => ServerConcurrencyLimit;

/** The overload of a server. It begins with the first refused or expired call. */
export class OverloadState {
  /** The queues, with the state of the limits whose calls wait in them. */
  private readonly sources = new Map<OverloadSource, LimitState | undefined>();
  private readonly overloaded = new Set<OverloadSource>();
  private beganAt = 0;
  private shed = 0;
  private shedBefore = 0;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
  ) {}

  /** @param limit returns the state of the limit whose calls wait in `source` */
  add(source: OverloadSource, limit?: LimitState): void {
    this.sources.set(source, limit);
  }

  snapshot(): ServerOverload {
    let queued = 0;
    for (const { size } of this.sources.keys()) queued += size;
    const ageMs = this.clock.now() - this.beganAt;
    const since = this.overloaded.size === 0 ? undefined : moment(this.clock.epoch() - ageMs);
    const limits = [...this.sources.values()].flatMap((limit) => limit?.() ?? []);
    return { since, queued, shed: this.shed, limits };
  }

  /** Counts a refused call, whose handler has not started. */
  noteRefused({ path }: Pick<ServedMethod, 'path'>, source: OverloadSource): void {
    this.shed += 1;
    this.note(source);
    if (this.events.wanted) this.events.emit({ type: 'call-shed', path });
  }

  /** Begins the overload if `source` is overloaded. */
  note(source: OverloadSource): void {
    const { overloaded, events } = this;
    if (!source.isOverloaded || overloaded.has(source)) return;
    overloaded.add(source);
    if (overloaded.size > 1) return;
    this.beganAt = this.clock.now();
    if (events.wanted) this.emitBegin(this.sources.get(source)?.());
    this.settleLater();
  }

  close(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private emitBegin(limit: ServerConcurrencyLimit | undefined): void {
    const { queued } = this.snapshot();
    const reached = limit && { path: limit.path, maxConcurrent: limit.maxConcurrent, maxQueued: limit.maxQueued };
    this.events.emit({ type: 'overload', phase: 'begin', queued, ...(reached && { limit: reached }) });
  }

  private settleLater(): void {
    this.timer = this.clock.setTimer(() => {
      this.settle();
    }, OVERLOAD_STAY_MS);
  }

  private settle(): void {
    const { clock, events, overloaded } = this;
    const now = clock.now();
    for (const source of overloaded) if (source.settle(now)) overloaded.delete(source);
    if (overloaded.size > 0) {
      this.settleLater();
      return;
    }
    const shed = this.shed - this.shedBefore;
    this.shedBefore = this.shed;
    if (events.wanted) events.emit({ type: 'overload', phase: 'end', shed, durationMs: now - this.beganAt });
  }
}
