import { type ArgumentsHost } from '@nestjs/common';
import { from, mergeMap } from 'rxjs';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';

const logger = new LibraryLogger('ResilientGrpc');

/**
 * What Nest does with an exception that no filter has taken, where that is not HTTP. Nest asks one filter only, and what a filter throws
 * passes Nest by: in GraphQL and the like that is its own way; under microservices and WebSockets it would end the process.
 *
 * The packages are loaded when they are needed: they are there, as the handler that failed is made of them.
 */
export function nestsOwnHandling(exception: unknown, host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return from(import('@nestjs/microservices')).pipe(
        mergeMap(({ BaseRpcExceptionFilter }) => new BaseRpcExceptionFilter().catch(exception, host)),
      );
    case 'ws':
      import('@nestjs/websockets')
        .then(({ BaseWsExceptionFilter }) => {
          new BaseWsExceptionFilter().catch(exception, host);
        })
        .catch((error: unknown) => {
          logger.error(error);
        });
      return undefined;
    default:
      throw exception;
  }
}
