/** Maximum number of ids. It exceeds the number of calls in 10 s, and one call with all its attempts takes less than 10 s. */
const MAX_IDS = 10_000;

/** A set of the most recently added ids. Its memory is bounded, because an upstream may run for hours. */
export class RecentIds {
  // A set iterates in the order of insertion.
  private readonly ids = new Set<string>();

  /** Adds `id`. Returns false if the set already contains it. */
  add(id: string): boolean {
    if (this.ids.has(id)) return false;
    this.ids.add(id);
    if (this.ids.size > MAX_IDS) {
      const [oldest] = this.ids;
      if (oldest !== undefined) this.ids.delete(oldest);
    }
    return true;
  }
}
