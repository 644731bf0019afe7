import type { GrpcClientSnapshot } from '../client/client-snapshot.js';

type Property = keyof GrpcClientSnapshot;

/** What the overview shows of every client; all else goes to those who look at the one. */
const OVERVIEW: ReadonlySet<string> = new Set<Property>([
  'name',
  'target',
  'madeAt',
  'connectivity',
  'history',
  'waiting',
  'oldestWaitMs',
  'active',
  'counters',
  'recent',
  'circuits',
  'drain',
]);
/** The message that holds the clients has its own. */
const OF_MESSAGE: ReadonlySet<string> = new Set<Property>(['version', 'at']);

/** A part of a client's state: a property, and its value as JSON. */
type Part = readonly [property: string, json: string];

/** What visitors were told of a client. They are told what has changed since, which is written as JSON once for all of them. */
export class ToldClient {
  private readonly told = new Map<string, string>();
  private changed: readonly Part[] = [];

  constructor(
    readonly key: string,
    private snapshot: GrpcClientSnapshot,
    looked: boolean,
  ) {
    // To those who have not heard of it everything is new.
    this.update(snapshot, looked);
  }

  /** Takes the present state and finds what is new in it. `looked`: somebody looks at this client. */
  update(snapshot: GrpcClientSnapshot, looked: boolean): void {
    this.snapshot = snapshot;
    this.changed = this.parts(looked).filter(([property, json]) => this.told.get(property) !== json);
    for (const [property, json] of this.changed) this.told.set(property, json);
  }

  /** All of it as JSON, as of the last update. `looking`: to one who looks at this client. */
  whole(looking: boolean): string {
    // For the first who looks, what changes is found from here on; for others it is as it was.
    if (looking) for (const [property, json] of this.parts(true)) this.told.set(property, json);
    return this.json([...this.told].filter(([property]) => looking || OVERVIEW.has(property)));
  }

  /** What was new in the last update, as JSON; undefined where nothing was. */
  changes(looking: boolean): string | undefined {
    const parts = this.changed.filter(([property]) => looking || OVERVIEW.has(property));
    return parts.length === 0 ? undefined : this.json(parts);
  }

  private parts(looking: boolean): readonly Part[] {
    return Object.entries(this.snapshot)
      .filter(([property]) => !OF_MESSAGE.has(property) && (looking || OVERVIEW.has(property)))
      .map(([property, value]) => [property, JSON.stringify(value)]);
  }

  private json(parts: readonly Part[]): string {
    const all: readonly Part[] = [['key', JSON.stringify(this.key)], ...parts];
    return `{${all.map(([property, json]) => `${JSON.stringify(property)}:${json}`).join()}}`;
  }
}
