import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Projects in starting order. */
const PROJECTS = ['isolated', 'nest-11', 'nest-12'];

/** Slow files and folders, in starting order. Without the list, Vitest starts the largest files first if it has no cache of durations. */
const SLOW_FILES = [
  'test/promises/versus/versus.e2e',
  'test/outages/dead-connections',
  'test/outages/explained-failures',
  'test/policies/endings',
  'test/addresses/names-that-change',
  'test/testing/child-server',
  'test/calls/lost-connection',
  'test/frames/',
  'test/server/connections',
  'test/server/unresponsive-clients',
  'test/scenarios/',
  'test/outages/',
  'test/streams/silence',
  'test/server/shutdown',
  'test/policies/side-by-side',
  'test/guides/proxies',
];

/**
 * Starts the slow files of each project first, so that no worker finishes long after the others. Starts no file of a project between two
 * files of another one, because Vitest ends a process, with all the modules that it has loaded, when the next file belongs to another
 * project.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId, project }: TestSpecification) => {
      const index = SLOW_FILES.findIndex((part) => moduleId.includes(part));
      return PROJECTS.indexOf(project.name) * 100 + (index < 0 ? SLOW_FILES.length : index);
    };
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}
