import { age, count, counted } from './format.js';
import { section, Table } from './parts.js';

const limitText = ({ path, maxConcurrent, running, queued }) =>
  `${path === undefined ? 'all methods' : path.slice(1)}: ${count(running)} of ${counted(maxConcurrent, 'handler')} running, ${count(queued)} waiting`;

/** The servers of the application, and whether they refuse calls. */
export class Servers {
  constructor() {
    this.table = new Table({
      label: 'Servers',
      empty: '',
      keyOf: ({ address }) => address,
      columns: [
        { title: 'address', text: ({ address }) => address, cell: 'path' },
        {
          title: 'state',
          text: ({ overload: { since } }, now) =>
            since === undefined ? 'Serving' : `Overloaded for ${age(now - Date.parse(since))}`,
          cell: 'moment',
          tone: ({ overload: { since } }) => (since === undefined ? 'ok' : 'bad'),
        },
        {
          title: 'waiting',
          note: 'Unary calls waiting for a handler',
          number: true,
          text: ({ overload }) => count(overload.queued),
        },
        {
          title: 'refused',
          note: 'Calls refused because of an overload since the server started',
          number: true,
          text: ({ overload }) => count(overload.shed),
        },
        {
          title: 'limits',
          note: 'maxConcurrentCalls',
          text: ({ overload }) => overload.limits.map(limitText).join('; '),
          cell: 'wide',
        },
      ],
    });
    this.element = section('h2', 'Servers of this application', this.table.element);
  }

  show(servers, now) {
    this.element.hidden = servers.length === 0;
    this.table.show(servers, now);
  }
}
