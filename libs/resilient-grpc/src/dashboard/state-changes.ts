import { skip, type Subscription } from 'rxjs';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';

/** Hears of changes of state of those clients that it was told to follow last. */
export class StateChanges {
  private readonly followed = new Map<ResilientGrpcClient, Subscription>();

  constructor(private readonly onChange: () => void) {}

  follow(clients: readonly ResilientGrpcClient[]): void {
    const wanted = new Set(clients);
    for (const [client, subscription] of this.followed) {
      if (wanted.has(client)) continue;
      subscription.unsubscribe();
      this.followed.delete(client);
    }
    for (const client of wanted) {
      if (this.followed.has(client)) continue;
      // The first is the present state, which is known; the end of them is the end of the client.
      const subscription = client.connectivity$
        .pipe(skip(1))
        .subscribe({ next: this.onChange, complete: this.onChange });
      this.followed.set(client, subscription);
    }
  }
}
