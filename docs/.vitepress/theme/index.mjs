// The site sends no request to another host, so it uses fonts that the reader has installed.
export { default } from 'vitepress/theme-without-fonts';
import './site.css';
