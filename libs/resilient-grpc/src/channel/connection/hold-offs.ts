import type { Clock } from '../../time/clock.js';
import type { AddressHistories } from './address-histories.js';

interface Held {
  readonly address: string;
  begin(): void;
}

/** Pending connections whose addresses are in hold-off, because earlier connections to them closed immediately. */
export class HoldOffs {
  private held: readonly Held[] = [];

  constructor(
    private readonly histories: Pick<AddressHistories, 'holdOffMs'>,
    private readonly clock: Clock,
  ) {}

  /** Runs `begin` when the hold-off of `address` ends. Returns a function that cancels it. */
  after(address: string, begin: () => void): () => void {
    const cancel = (): void => {
      timer.clear();
      this.held = this.held.filter((one) => one !== held);
    };
    const held = {
      address,
      begin: () => {
        cancel();
        begin();
      },
    };
    const timer = this.clock.setTimer(held.begin, this.histories.holdOffMs(address));
    this.held = [...this.held, held];
    return cancel;
  }

  /** Starts the connections to `address` if its hold-off has ended. */
  reconsider(address: string): void {
    if (this.histories.holdOffMs(address) > 0) return;
    for (const held of this.held.filter((one) => one.address === address)) held.begin();
  }
}
