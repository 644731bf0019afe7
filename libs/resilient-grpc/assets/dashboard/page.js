import { Dashboard } from './dashboard.js';

const icon = document.querySelector('link[rel=icon]');
const icons = { well: icon.href, trouble: icon.dataset.trouble };

// The tab tells, too, to who looks at another one.
new Dashboard(document.querySelector('main'), {
  onVerdict({ bad, all, link }) {
    const well = bad === 0 && (link === 'live' || link === 'connecting');
    const what =
      link === 'live' || link === 'connecting'
        ? bad > 0
          ? `${bad} of ${all} in trouble · `
          : ''
        : 'no live figures · ';
    const title = `${what}gRPC clients`;
    if (document.title !== title) document.title = title;
    const href = well ? icons.well : icons.trouble;
    if (icon.getAttribute('href') !== href) icon.setAttribute('href', href);
  },
});
