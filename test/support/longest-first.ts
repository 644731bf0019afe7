import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Slow files and folders, in starting order. Without the list, Vitest starts the largest files first if it has no cache of durations. */
const SLOW_FILES = [
  'test/streams/memory',
  'test/outages/dead-connections',
  'test/server/connections',
  'test/server/unresponsive-clients',
  'test/scenarios/',
  'test/outages/',
  'test/streams/silence',
  'test/server/shutdown',
  'test/policies/side-by-side',
  'test/guides/proxies',
  'test/fleet',
];

/** Starts the slow files first, so that no worker finishes long after the others. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification) => {
      const index = SLOW_FILES.findIndex((part) => moduleId.includes(part));
      return index < 0 ? SLOW_FILES.length : index;
    };
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}
