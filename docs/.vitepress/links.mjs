import { posix } from 'node:path';

/**
 * Converts links of the repository to links of the site: a link to a file that is not a page of the site points to `repository`. If
 * `repository` is `undefined`, such a link becomes plain text with the path in its title.
 */
export function repositoryLinks(markdown, repository) {
  const { link_open: open, link_close: close } = markdown.renderer.rules;
  const asPlain = (tokens, index, options, _env, self) => self.renderToken(tokens, index, options);
  const opened = [];

  markdown.renderer.rules.link_open = (tokens, index, options, env, self) => {
    const token = tokens[index];
    const source = sourceOf(token.attrGet('href') ?? '', env.relativePath);
    opened.push(source === undefined || repository !== undefined);
    if (source !== undefined) {
      if (repository === undefined) return `<span title="${source} in the repository">`;
      token.attrSet('href', `${repository}/blob/main/${source}`);
    }
    return (open ?? asPlain)(tokens, index, options, env, self);
  };
  markdown.renderer.rules.link_close = (...rest) => (opened.pop() ? (close ?? asPlain)(...rest) : '</span>');
}

/**
 * Returns the repository path to which `href` on `page` (a path in docs/) points; `undefined` if `href` is not relative or points to a
 * page of the site.
 */
function sourceOf(href, page) {
  if (/^([a-z]+:|#|\/)/.test(href)) return undefined;
  const path = posix.join('docs', posix.dirname(page), href);
  return /^docs\/(?!internals\/).*\.md(#.*)?$/.test(path) ? undefined : path;
}

/** Returns the anchor of a heading as GitHub generates it, so that links work on GitHub and on the site. */
export function anchorOf(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}
