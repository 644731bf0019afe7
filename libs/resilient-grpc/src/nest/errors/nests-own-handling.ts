import { type ArgumentsHost } from '@nestjs/common';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { LibraryLogger } from '../../telemetry/library-logger.js';

const logger = new LibraryLogger('ResilientGrpc');
const rpc = new BaseRpcExceptionFilter();

/**
 * What Nest does with an exception that no filter has taken, where that is not HTTP. Nest asks one filter only, and what a filter throws
 * passes Nest by: in GraphQL and the like that is its own way; under microservices it would be lost, and under WebSockets end the
 * process.
 */
export function nestsOwnHandling(exception: unknown, host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return rpc.catch(exception, host);
    case 'ws':
      // It is there, as the gateway that failed is made of it.
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
