import { connect, constants } from 'node:http2';
import { expect, it } from 'vitest';
import { sendable } from './proxied-call.js';

it('keeps one value of each repeated header field that Node allows only once', () => {
  const session = connect('http://127.0.0.1:1').on('error', () => undefined);
  const names = Object.entries(constants).flatMap(([key, name]) => (key.startsWith('HTTP2_HEADER_') ? [name] : []));
  const rejected = names.filter((name) => {
    try {
      session.request(sendable([name as string, 'a', name as string, 'b'])).on('error', () => undefined);
      return false;
    } catch (error) {
      // Ignores other errors: Node also rejects fields that HTTP/2 does not allow, such as 'connection', but a proxy never receives such
      // fields.
      return (error as NodeJS.ErrnoException).code === 'ERR_HTTP2_HEADER_SINGLE_VALUE';
    }
  });
  session.destroy();
  expect(rejected).toEqual([]);
});

it('keeps all values of a header field that may be repeated', () => {
  expect(sendable(['x-tag', 'a', 'x-tag', 'b', 'location', 'c', 'location', 'd'])).toEqual({
    'x-tag': ['a', 'b'],
    location: 'c',
  });
});
