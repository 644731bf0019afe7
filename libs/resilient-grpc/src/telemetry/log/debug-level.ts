import { Logger } from '@nestjs/common';

/**
 * True unless Nest has a list of log levels that excludes `debug`. Without a list, Nest 11 reports every level as disabled. This case is
 * detected with 'fatal', which every list contains.
 */
export function debugIsRead(): boolean {
  return Logger.isLevelEnabled('debug') || !Logger.isLevelEnabled('fatal');
}
