import { get } from 'node:http';

/** How an HTTP request ended. */
export interface HttpEnd {
  /** undefined: the connection broke off before the answer had ended. */
  readonly status: number | undefined;
  /** What came of the answer. */
  readonly body: string;
}

/** A GET on a connection of its own: one that is kept alive would hold Nest's server open after its answer, for each contender alike. */
export function httpGet(url: string): Promise<HttpEnd> {
  return new Promise((resolve) => {
    let body = '';
    const brokeOff = (): void => resolve({ status: undefined, body });
    get(url, { agent: false }, (response) => {
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode, body }));
      // Also after 'end', when it says nothing new.
      response.once('close', brokeOff);
      response.on('error', brokeOff);
    }).on('error', brokeOff);
  });
}
