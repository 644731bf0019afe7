import { Logger } from '@nestjs/common';

/**
 * Whether anybody reads `debug`, as far as Nest says: not where it has a list of levels without it. Nest 11 answers no for every
 * level while it was given no list, which says nothing; 'fatal' is in every list.
 */
export function debugIsRead(): boolean {
  return Logger.isLevelEnabled('debug') || !Logger.isLevelEnabled('fatal');
}
