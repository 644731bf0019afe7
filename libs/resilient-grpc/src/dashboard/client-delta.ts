import type { GrpcClientSnapshot } from '../client/client-snapshot.js';

type Property = keyof GrpcClientSnapshot;

/** Properties that the overview shows for every client. All other properties are sent only to pages that have the client open. */
const OVERVIEW_PROPERTIES: ReadonlySet<string> = new Set<Property>([
  'name',
  'target',
  'createdAt',
  'connectivity',
  'history',
  'waiting',
  'waitingForStream',
  'oldestWaitMs',
  'active',
  'counters',
  'recent',
  'circuits',
  'drain',
]);
/** Properties omitted from each client's state. The enclosing message has its own `at`. */
const MESSAGE_PROPERTIES: ReadonlySet<string> = new Set<Property>(['version', 'at']);

/** Part of a client's state: a property, and its value as JSON. */
type Part = readonly [property: string, json: string];

/** State of a client as last sent to visitors. Computes the changes since then and serializes them once for all visitors. */
export class ClientDelta {
  private readonly lastSent = new Map<string, string>();
  private changed: readonly Part[] = [];

  constructor(
    readonly key: string,
    private snapshot: GrpcClientSnapshot,
    isOpenInPage: boolean,
  ) {
    // Everything is new to visitors that have not received this client.
    this.update(snapshot, isOpenInPage);
  }

  /** Stores the current state and determines the changes. `isOpenInPage` is true if any page has this client open. */
  update(snapshot: GrpcClientSnapshot, isOpenInPage: boolean): void {
    this.snapshot = snapshot;
    this.changed = this.parts(isOpenInPage).filter(([property, json]) => this.lastSent.get(property) !== json);
    for (const [property, json] of this.changed) this.lastSent.set(property, json);
  }

  /** Returns the full state as JSON, as of the last update. `isOpenInPage` is true for a page that has this client open. */
  whole(isOpenInPage: boolean): string {
    // Records the details as sent, so that later updates contain only changes. Other pages are not affected, because they receive no
    // details.
    if (isOpenInPage) for (const [property, json] of this.parts(true)) this.lastSent.set(property, json);
    return this.json([...this.lastSent].filter(([property]) => isOpenInPage || OVERVIEW_PROPERTIES.has(property)));
  }

  /** Returns the changes of the last update as JSON; `undefined` if there are none. */
  changes(isOpenInPage: boolean): string | undefined {
    const parts = this.changed.filter(([property]) => isOpenInPage || OVERVIEW_PROPERTIES.has(property));
    return parts.length === 0 ? undefined : this.json(parts);
  }

  private parts(isOpenInPage: boolean): readonly Part[] {
    return Object.entries(this.snapshot)
      .filter(([property]) => !MESSAGE_PROPERTIES.has(property) && (isOpenInPage || OVERVIEW_PROPERTIES.has(property)))
      .map(([property, value]) => [property, JSON.stringify(value)]);
  }

  private json(parts: readonly Part[]): string {
    const all: readonly Part[] = [['key', JSON.stringify(this.key)], ...parts];
    return `{${all.map(([property, json]) => `${JSON.stringify(property)}:${json}`).join()}}`;
  }
}
