import { Dashboard } from './dashboard.js';

const icon = document.querySelector('link[rel=icon]');
const icons = { well: icon.href, trouble: icon.dataset.trouble };

// Title and icon show the state while the tab is in the background.
new Dashboard(document.querySelector('main'), {
  onVerdict({ bad, all, link }) {
    const isWell = bad === 0 && (link === 'live' || link === 'connecting');
    const prefix =
      link === 'live' || link === 'connecting' ? (bad > 0 ? `${bad} of ${all} unhealthy · ` : '') : 'no live data · ';
    const title = `${prefix}gRPC clients`;
    if (document.title !== title) document.title = title;
    const href = isWell ? icons.well : icons.trouble;
    if (icon.getAttribute('href') !== href) icon.setAttribute('href', href);
  },
});
