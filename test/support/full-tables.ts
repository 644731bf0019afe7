/** True under `npm run pack:check`, which plays every row of a table; `npm test` leaves out those that take seconds of CPU time. */
export const IS_FULL = process.env['FULL_TABLES'] !== undefined;
