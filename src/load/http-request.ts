import { get } from 'node:http';

/** The end of an HTTP request. */
export interface HttpEnd {
  /** `undefined` if the connection was lost before the end of the response. */
  readonly status: number | undefined;
  /** The received part of the response. */
  readonly body: string;
}

/** Sends a GET on a separate connection, because a keep-alive connection would delay the shutdown of Nest's server. */
export function httpGet(url: string): Promise<HttpEnd> {
  return new Promise((resolve) => {
    let body = '';
    const lost = (): void => resolve({ status: undefined, body });
    get(url, { agent: false }, (response) => {
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode, body }));
      // Also emitted after 'end', where it has no effect.
      response.once('close', lost);
      response.on('error', lost);
    }).on('error', lost);
  });
}
