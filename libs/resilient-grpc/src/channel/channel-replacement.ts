import type { ConnectivityState } from '../call/connectivity.js';
import type { WireChannel } from './wire-channel.js';
import type { SuspicionCallbacks } from './connection/suspicion-watch.js';

/** Reason for the replacement of a channel. */
export type ReplacementReason = 'credentials' | 'age' | 'suspicion';

/** The managed channel, as a replacement sees it. */
export interface ChannelReplacementCallbacks {
  readonly ready: boolean;
  createWireChannel(): WireChannel;
  /** Makes `channel` the channel of new calls. */
  promote(channel: WireChannel, reason: ReplacementReason): void;
}

/** Creates a new channel next to the current one. It takes over once it is READY. */
export class ChannelReplacement implements SuspicionCallbacks {
  private replacement: { readonly channel: WireChannel; readonly reason: ReplacementReason } | undefined;

  /** Number of replacements that took over. */
  count = 0;

  constructor(private readonly callbacks: ChannelReplacementCallbacks) {}

  get pending(): boolean {
    return this.replacement !== undefined;
  }

  /** Starts a replacement for `reason`, and drops a pending one. */
  begin(reason: ReplacementReason): void {
    this.drop();
    const channel = this.callbacks.createWireChannel();
    this.replacement = { channel, reason };
    if (this.callbacks.ready) channel.connect();
    else this.takeOver();
  }

  /** Reports that the state of `channel` changed. Returns true if it is the pending replacement. */
  onState(channel: WireChannel, state: ConnectivityState): boolean {
    if (channel !== this.replacement?.channel) return false;
    // A replacement for a dead connection waits for `useReplacement`, because that connection may still receive data.
    if (state === 'READY' && this.replacement.reason !== 'suspicion') this.takeOver();
    return true;
  }

  /** Makes the pending replacement the channel of new calls, even if it is not READY. */
  takeOver(): void {
    const { replacement } = this;
    if (replacement === undefined) return;
    this.replacement = undefined;
    this.count += 1;
    this.callbacks.promote(replacement.channel, replacement.reason);
  }

  drop(): void {
    const { replacement } = this;
    this.replacement = undefined;
    replacement?.channel.close();
  }

  // ── SuspicionCallbacks ──

  get replacementReady(): boolean {
    return this.replacement?.reason === 'suspicion' && this.replacement.channel.ready;
  }

  makeReplacement(): void {
    if (this.replacement === undefined) this.begin('suspicion');
    else this.replacement.channel.connect();
  }

  dropReplacement(): void {
    if (this.replacement?.reason === 'suspicion') this.drop();
  }

  useReplacement(): void {
    this.takeOver();
  }
}
