import { posix } from 'node:path';

/**
 * Pages link as the repository reads them. On the site the README.md of a folder is its index, and what is no page of docs/ is
 * found at `repository`, or named alone where that is not known.
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

/** The file of the repository that a link of the page at `page` (inside docs/) leads to; undefined for pages. */
function sourceOf(href, page) {
  if (!isRelative(href)) return undefined;
  const path = posix.join('docs', posix.dirname(page), href);
  return /^docs\/.*\.md(#.*)?$/.test(path) ? undefined : path;
}
