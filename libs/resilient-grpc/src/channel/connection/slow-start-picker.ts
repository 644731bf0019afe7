import type { experimental } from '@grpc/grpc-js';
import type { Random } from '../../time/random.js';
import type { Endpoints } from './endpoints.js';

type Picker = experimental.Picker;

/** Maximum number of picks that one `pick()` requests from the child policy. */
const MAX_PICKS = 8;

/**
 * Picks again to reduce how often an endpoint in its slow start is picked. Used only during a slow start. A pick that is discarded has no
 * side effects, except that round_robin and weighted_round_robin advance.
 */
export class SlowStartPicker implements Picker {
  constructor(
    private readonly child: Picker,
    private readonly endpoints: Pick<Endpoints, 'weightOf'>,
    private readonly random: Random,
  ) {}

  pick(args: experimental.PickArgs): experimental.PickResult {
    let result = this.child.pick(args);
    for (let picks = 1; picks < MAX_PICKS; picks++) {
      const address = result.subchannel?.getAddress();
      // The pick has no connection, because the policy queues or drops the call.
      if (address === undefined) return result;
      const weight = this.endpoints.weightOf(address);
      if (weight === 1 || this.random() < weight) return result;
      result = this.child.pick(args);
    }
    return result;
  }
}
