import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take the longest, though they are short: without a cache of durations vitest starts the largest files first. */
const LONGEST = [
  'test/streams/memory',
  'test/outages/dead-connections',
  'test/server/connections',
  'test/server/vanished',
  'test/scenarios/',
  'test/outages/',
  'test/streams/silence',
  'test/server/shutdown',
  'test/policies/side-by-side',
  'test/guides/proxies',
  'test/fleet',
];

/** Starts the longest files first, so that no worker ends long after the others. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((part) => moduleId.includes(part));
      return index < 0 ? LONGEST.length : index;
    };
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}
