/** True under `npm run pack:check`, which runs every row of a table; `npm test` omits rows that take seconds of CPU time. */
export const IS_FULL = process.env['FULL_TABLES'] !== undefined;
