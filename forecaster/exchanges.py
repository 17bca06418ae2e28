"""Exchanges by Yahoo's names: codes in its answers, suffixes of its symbols.

Calendars are named as exchange_calendars does (XNYS).
"""

NO_SUFFIX = "-"  # how the table writes it
OF_YAHOO = (  # calendar, codes, suffixes
    ("XNYS", "NMS NGM NCM NYQ PCX ASE BTS NAS SNP DJI NIM WCB", "-"),
    ("XLON", "LSE FGI", "L"),
    ("XETR", "GER", "DE"),
    ("XFRA", "FRA", "F"),
    ("XPAR", "PAR", "PA"),
    ("XAMS", "AMS", "AS"),
    ("XBRU", "BRU", "BR"),
    ("XLIS", "LIS", "LS"),
    ("XMIL", "MIL", "MI"),
    ("XMAD", "MCE", "MC"),
    ("XSWX", "EBS", "SW"),
    ("XWBO", "VIE", "VI"),
    ("XSTO", "STO", "ST"),
    ("XCSE", "CPH", "CO"),
    ("XHEL", "HEL", "HE"),
    ("XOSL", "OSL", "OL"),
    ("XDUB", "ISE", "IR"),
    ("XWAR", "WSE", "WA"),
    ("XTSE", "TOR", "TO"),
    ("BVMF", "SAO", "SA"),
    ("XMEX", "MEX", "MX"),
    ("XTKS", "JPX", "T"),
    ("XHKG", "HKG", "HK"),
    ("XASX", "ASX", "AX"),
    ("XKRX", "KSC", "KS"),
    ("XSHG", "SHH SHZ", "SS SZ"),
    ("XBOM", "NSI BSE", "NS BO"),
    ("XTAI", "TAI", "TW"),
    ("24/7", "CCC", ""),
    ("24/5", "CCY", ""),
)
BY_CODE = {code: calendar for calendar, codes, _ in OF_YAHOO for code in codes.split()}
BY_SUFFIX = {suffix: calendar for calendar, _, all_of in OF_YAHOO for suffix in all_of.split()}


def calendar_name(yahoo_code: str) -> str:
    """The calendar of an exchange by Yahoo's code; empty for one that is not known here."""
    return BY_CODE.get(yahoo_code, "")


def calendar_of(symbol: str) -> str:
    """The calendar of where a symbol is listed, by its suffix none being New York; or empty."""
    return BY_SUFFIX.get(symbol.rpartition(".")[2] if "." in symbol else NO_SUFFIX, "")
