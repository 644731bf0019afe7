import type { experimental } from '@grpc/grpc-js';
import type { Random } from '../../time/random.js';
import { COMPLETE } from '../quirks/experimental.js';
import type { Endpoints } from './endpoints.js';

type Picker = experimental.Picker;
type PickArgs = experimental.PickArgs;
type PickResult = experimental.PickResult;

/**
 * Maximum number of additional picks that are requested from the child policy. They follow the weights of the policy. Each pick advances
 * the policy's schedule, so the number is small.
 */
const MAX_FURTHER_PICKS = 3;

type PickInfo = PickArgs['extraPickInfo'];

// The casts are safe: grpc-js does not read the values, and `triedEndpoints()` and `isUnary()` return them.
const NO_INFO: PickInfo = {};
const UNARY_INFO = { isUnary: true } as unknown as PickInfo;

/** Returns the pick information of an attempt that should avoid the endpoints in `tried`. */
export function pickInfo(tried: string[] | undefined, isUnary: boolean): PickInfo {
  if (tried !== undefined) return { tried, isUnary } as unknown as PickInfo;
  return isUnary ? UNARY_INFO : NO_INFO;
}

/** Returns the endpoints that an attempt should avoid; `undefined` if there is no list. */
export function triedEndpoints({ extraPickInfo }: Pick<PickArgs, 'extraPickInfo'>): string[] | undefined {
  return (extraPickInfo as { readonly tried?: unknown }).tried as string[] | undefined;
}

/** Returns true for an attempt of a unary method. */
export function isUnary({ extraPickInfo }: Pick<PickArgs, 'extraPickInfo'>): boolean {
  return (extraPickInfo as { readonly isUnary?: unknown }).isUnary === true;
}

export interface PickableEndpoints {
  /** True if `address` belongs to an endpoint with an address in `tried`. */
  isTried(address: string, tried: readonly string[]): boolean;
  /** Returns the connections that an attempt may use: the READY connections of healthy endpoints. */
  pickable(): experimental.SubchannelInterface[];
}

/**
 * Selects an endpoint that the call has not tried, if one is READY and healthy. For an attempt that has no list of tried endpoints, the
 * child policy is called once, and its pick is used.
 */
export class EndpointPicker implements Picker {
  constructor(
    private readonly child: Picker,
    private readonly endpoints: PickableEndpoints,
    private readonly random: Random,
  ) {}

  pick(args: PickArgs): PickResult {
    const pick = this.child.pick(args);
    const tried = triedEndpoints(args);
    if (tried === undefined || !isComplete(pick)) return pick;
    const chosen = this.isUntried(pick, tried) ? pick : (this.pickUntried(args, tried) ?? pick);
    const address = chosen.subchannel?.getAddress();
    if (address !== undefined && !tried.includes(address)) tried.push(address);
    return chosen;
  }

  /** Returns a pick of an endpoint that is not in `tried`; `undefined` if none is READY and healthy. */
  private pickUntried(args: PickArgs, tried: readonly string[]): PickResult | undefined {
    const others = this.endpoints.pickable().filter((one) => !this.endpoints.isTried(one.getAddress(), tried));
    if (others.length === 0) return undefined;
    for (let picks = 0; picks < MAX_FURTHER_PICKS; picks++) {
      const pick = this.child.pick(args);
      if (isComplete(pick) && this.isUntried(pick, tried)) return pick;
    }
    // Selects an untried endpoint at random, because the child policy selected only tried endpoints. For example, a tried endpoint may have
    // by far the highest weight.
    const subchannel = others[Math.floor(this.random() * others.length)] ?? null;
    return { pickResultType: COMPLETE, subchannel, status: null, onCallStarted: null, onCallEnded: null };
  }

  private isUntried({ subchannel }: PickResult, tried: readonly string[]): boolean {
    return subchannel !== null && !this.endpoints.isTried(subchannel.getAddress(), tried);
  }
}

function isComplete({ pickResultType }: PickResult): boolean {
  return (pickResultType as number) === COMPLETE;
}

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

  pick(args: PickArgs): PickResult {
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
