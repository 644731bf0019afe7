import { posix } from 'node:path';

/**
 * Converts links of the repository to links of the site: a README.md becomes the index of its folder, and a link to a file that is not a
 * page of docs/ points to `repository`. If `repository` is `undefined`, such a link becomes plain text with the path in its title.
 */
export function repositoryLinks(markdown, repository) {
  const { link_open: open, link_close: close } = markdown.renderer.rules;
  const asPlain = (tokens, index, options, _env, self) => self.renderToken(tokens, index, options);
  const opened = [];

  markdown.renderer.rules.link_open = (tokens, index, options, env, self) => {
    const token = tokens[index];
    const href = token.attrGet('href') ?? '';
    const source = sourceOf(href, env.relativePath);
    opened.push(source === undefined || repository !== undefined);
    if (source !== undefined) {
      if (repository === undefined) return `<span title="${source} in the repository">`;
      token.attrSet('href', `${repository}/blob/main/${source}`);
    } else if (isRelative(href)) token.attrSet('href', href.replace(/README\.md(?=#|$)/, 'index.md'));
    return (open ?? asPlain)(tokens, index, options, env, self);
  };
  markdown.renderer.rules.link_close = (...rest) => (opened.pop() ? (close ?? asPlain)(...rest) : '</span>');
}

const isRelative = (href) => !/^([a-z]+:|#|\/)/.test(href);

/**
 * Returns the repository path to which `href` on `page` (a path in docs/) points; `undefined` if `href` is not relative or points to a
 * page.
 */
function sourceOf(href, page) {
  if (!isRelative(href)) return undefined;
  const path = posix.join('docs', posix.dirname(page), href);
  return /^docs\/.*\.md(#.*)?$/.test(path) ? undefined : path;
}

/** Returns the anchor of a heading as GitHub generates it, so that links work on GitHub and on the site. */
export function anchorOf(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}
