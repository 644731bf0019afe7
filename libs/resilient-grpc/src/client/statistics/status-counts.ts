import { isStatusCode, StatusCode, statusName, type StatusName } from '../../status/status-code.js';

/** Number of gRPC status codes, 0 to 16. */
const CODES = 17;

/** Counts calls by status code other than OK. It allocates memory at the first one, because most methods of a client never fail. */
export class StatusCounts {
  private counts: Uint32Array | undefined;

  add(code: StatusCode): void {
    // A server may send an unknown code, which grpc-js passes on.
    this.count(isStatusCode(code) ? code : StatusCode.UNKNOWN, 1);
  }

  addAll(other: StatusCounts): void {
    for (const [code, count] of other.counts?.entries() ?? []) this.count(code, count);
  }

  clear(): void {
    this.counts?.fill(0);
  }

  /** Returns the counts by status name, without zeros. */
  toJSON(): Readonly<Partial<Record<StatusName, number>>> {
    const entries = [...(this.counts?.entries() ?? [])].filter(([, count]) => count > 0);
    return Object.fromEntries(entries.map(([code, count]) => [statusName(code), count]));
  }

  private count(code: number, by: number): void {
    this.counts ??= new Uint32Array(CODES);
    this.counts[code] = (this.counts[code] ?? 0) + by;
  }
}
