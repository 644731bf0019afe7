import { skip, type Subscription } from 'rxjs';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';

/** Calls `onChange` if one of the followed clients changes its state. */
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
      // The first value is the current state, which is known. Completion means that the client was closed.
      const subscription = client.connectivity$
        .pipe(skip(1))
        .subscribe({ next: this.onChange, complete: this.onChange });
      this.followed.set(client, subscription);
    }
  }
}
