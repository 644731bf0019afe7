import type { ConnectivityState } from '../call/connectivity.js';
import type { ChannelGeneration } from './channel-generation.js';
import type { SuspicionOwner } from './connection/suspicion-watch.js';

/** Why one channel takes the place of another. */
export type ReplacementReason = 'credentials' | 'age' | 'suspicion';

/** The managed channel, as far as its channels of grpc-js follow one another. */
export interface SuccessionOwner {
  readonly ready: boolean;
  makeGeneration(): ChannelGeneration;
  /** `generation` carries new calls from now on. */
  promote(generation: ChannelGeneration, reason: ReplacementReason): void;
}

/** Makes a new channel beside the present one, which takes over once it is READY. */
export class Succession implements SuspicionOwner {
  private successor: { readonly generation: ChannelGeneration; readonly reason: ReplacementReason } | undefined;

  /** Channels that took over. */
  count = 0;

  constructor(private readonly owner: SuccessionOwner) {}

  get pending(): boolean {
    return this.successor !== undefined;
  }

  /** Makes one for `reason`, in place of one that is being made. */
  begin(reason: ReplacementReason): void {
    this.drop();
    const generation = this.owner.makeGeneration();
    this.successor = { generation, reason };
    if (this.owner.ready) generation.connect();
    else this.takeOver();
  }

  /** The state of `generation` changed. Returns whether it is the successor. */
  onState(generation: ChannelGeneration, state: ConnectivityState): boolean {
    if (generation !== this.successor?.generation) return false;
    // One that is for a dead connection waits to be taken: the dead may be heard of yet.
    if (state === 'READY' && this.successor.reason !== 'suspicion') this.takeOver();
    return true;
  }

  /** It carries new calls from now on, READY or not. */
  takeOver(): void {
    const { successor } = this;
    if (successor === undefined) return;
    this.successor = undefined;
    this.count += 1;
    this.owner.promote(successor.generation, successor.reason);
  }

  drop(): void {
    const { successor } = this;
    this.successor = undefined;
    successor?.generation.close();
  }

  // ── for suspicion ──

  get successorReady(): boolean {
    return this.successor?.reason === 'suspicion' && this.successor.generation.ready;
  }

  makeSuccessor(): void {
    if (this.successor === undefined) this.begin('suspicion');
    else this.successor.generation.connect();
  }

  dropSuccessor(): void {
    if (this.successor?.reason === 'suspicion') this.drop();
  }

  takeSuccessor(): void {
    this.takeOver();
  }
}
