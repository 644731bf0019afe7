import { type ArgumentsHost } from '@nestjs/common';
import { from, mergeMap } from 'rxjs';
import { errorMessage } from '../../errors/error-message.js';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';
import { oneLine } from '../../telemetry/log/log-text.js';

const logger = new LibraryLogger('ResilientGrpc');

/**
 * Applies Nest's default handling of an unhandled exception outside HTTP. Nest calls only one filter, and an exception that a filter throws
 * bypasses Nest. GraphQL and similar contexts handle such an exception, so it is rethrown there. In microservices and WebSockets, it would
 * end the process, so Nest's base filter receives it instead.
 *
 * `@nestjs/microservices` and `@nestjs/websockets` are loaded on demand. Only the package that the failed handler uses is loaded, so it is
 * always installed.
 */
export function nestDefaultHandling(exception: unknown, host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return from(import('@nestjs/microservices')).pipe(
        mergeMap(({ BaseRpcExceptionFilter }) => new BaseRpcExceptionFilter().catch(exception, host)),
      );
    case 'ws':
      void handleWebSocketException(exception, host);
      return undefined;
    default:
      throw exception;
  }
}

async function handleWebSocketException(exception: unknown, host: ArgumentsHost): Promise<void> {
  try {
    // Directly in the `try` block, so that bundlers accept that the package is not installed.
    const { BaseWsExceptionFilter } = await import('@nestjs/websockets');
    new BaseWsExceptionFilter().catch(exception, host);
  } catch (error) {
    const text = `Nest's handling of an unhandled exception failed: ${oneLine(errorMessage(error))}`;
    logger.write('error', text, { event: 'exception-handling' });
  }
}
