/** FIFO queue of items that link to each other. Shifting all items off a long array would take quadratic time. */
export class LinkedQueue<Item extends { next: Item | undefined }> {
  first: Item | undefined;
  private last: Item | undefined;
  size = 0;

  push(item: Item): void {
    if (this.last === undefined) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.size += 1;
  }

  shift(): Item | undefined {
    const item = this.first;
    if (item === undefined) return undefined;
    this.first = item.next;
    if (this.first === undefined) this.last = undefined;
    // If `next` were kept, an item in the old generation would keep all later items from being collected with the young generation.
    item.next = undefined;
    this.size -= 1;
    return item;
  }

  clear(): void {
    this.first = this.last = undefined;
    this.size = 0;
  }
}
