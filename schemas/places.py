"""Countries and the states of the United States: their codes, by name."""

from typing import Final

__all__ = ["COUNTRIES", "COUNTRY_CODES", "US_STATES", "US_STATE_CODES"]


def _codes_by_name(pairs: str) -> dict[str, str]:
    """Read `code:some_name` pairs into a dict from `somename`, as names are normalised, to the code."""
    return {name.replace("_", ""): code for code, name in (pair.split(":") for pair in pairs.split())}


US_STATES: Final = _codes_by_name("""
    al:alabama ak:alaska az:arizona ar:arkansas ca:california co:colorado ct:connecticut de:delaware
    fl:florida ga:georgia hi:hawaii id:idaho il:illinois in:indiana ia:iowa ks:kansas ky:kentucky
    la:louisiana me:maine md:maryland ma:massachusetts mi:michigan mn:minnesota ms:mississippi
    mo:missouri mt:montana ne:nebraska nv:nevada nh:new_hampshire nj:new_jersey nm:new_mexico
    ny:new_york nc:north_carolina nd:north_dakota oh:ohio ok:oklahoma or:oregon pa:pennsylvania
    ri:rhode_island sc:south_carolina sd:south_dakota tn:tennessee tx:texas ut:utah vt:vermont
    va:virginia wa:washington wv:west_virginia wi:wisconsin wy:wyoming
    dc:district_of_columbia dc:washington_dc as:american_samoa gu:guam mp:northern_mariana_islands
    pr:puerto_rico vi:virgin_islands vi:us_virgin_islands
    """)
# The three are the postal codes of the armed forces abroad, which have no name.
US_STATE_CODES: Final = frozenset(US_STATES.values()) | {"aa", "ae", "ap"}

# ISO 3166-1, each alpha-2 code followed by its alpha-3 code, and Kosovo's user-assigned pair.
_ISO_3166_1: Final = """
    adand aeare afafg agatg aiaia alalb amarm aoago aqata ararg asasm ataut auaus awabw axala azaze
    babih bbbrb bdbgd bebel bfbfa bgbgr bhbhr bibdi bjben blblm bmbmu bnbrn bobol bqbes brbra bsbhs
    btbtn bvbvt bwbwa byblr bzblz cacan cccck cdcod cfcaf cgcog chche ciciv ckcok clchl cmcmr cnchn
    cocol crcri cucub cvcpv cwcuw cxcxr cycyp czcze dedeu djdji dkdnk dmdma dodom dzdza ececu eeest
    egegy ehesh ereri esesp eteth fifin fjfji fkflk fmfsm fofro frfra gagab gbgbr gdgrd gegeo gfguf
    ggggy ghgha gigib glgrl gmgmb gngin gpglp gqgnq grgrc gssgs gtgtm gugum gwgnb gyguy hkhkg hmhmd
    hnhnd hrhrv hthti huhun ididn ieirl ilisr imimn inind ioiot iqirq irirn isisl itita jejey jmjam
    jojor jpjpn keken kgkgz khkhm kikir kmcom knkna kpprk krkor kwkwt kycym kzkaz lalao lblbn lclca
    lilie lklka lrlbr lslso ltltu lulux lvlva lylby mamar mcmco mdmda memne mfmaf mgmdg mhmhl mkmkd
    mlmli mmmmr mnmng momac mpmnp mqmtq mrmrt msmsr mtmlt mumus mvmdv mwmwi mxmex mymys mzmoz nanam
    ncncl nener nfnfk ngnga ninic nlnld nonor npnpl nrnru nuniu nznzl omomn papan peper pfpyf pgpng
    phphl pkpak plpol pmspm pnpcn prpri pspse ptprt pwplw pypry qaqat rereu rorou rssrb rurus rwrwa
    sasau sbslb scsyc sdsdn seswe sgsgp shshn sisvn sjsjm sksvk slsle smsmr snsen sosom srsur ssssd
    ststp svslv sxsxm sysyr szswz tctca tdtcd tfatf tgtgo ththa tjtjk tktkl tltls tmtkm tntun toton
    trtur tttto tvtuv twtwn tztza uaukr uguga umumi ususa uyury uzuzb vavat vcvct veven vgvgb vivir
    vnvnm vuvut wfwlf wswsm xkxkx yeyem ytmyt zazaf zmzmb zwzwe
    """
COUNTRY_CODES: Final = frozenset(pair[:2] for pair in _ISO_3166_1.split())

# Names as checkouts and CRMs of the larger advertising markets write them; other names are dropped.
COUNTRIES: Final = {pair[2:]: pair[:2] for pair in _ISO_3166_1.split()} | _codes_by_name("""
    ae:united_arab_emirates ae:uae ar:argentina at:austria au:australia bd:bangladesh be:belgium
    bg:bulgaria br:brazil ca:canada ch:switzerland cl:chile cn:china co:colombia cy:cyprus cz:czechia
    cz:czech_republic de:germany dk:denmark ee:estonia eg:egypt es:spain fi:finland fr:france
    gb:uk gb:united_kingdom gb:great_britain gb:england gb:scotland gb:wales gb:northern_ireland
    gr:greece hk:hong_kong hr:croatia hu:hungary id:indonesia ie:ireland il:israel in:india
    is:iceland it:italy jp:japan ke:kenya kr:south_korea lk:sri_lanka lt:lithuania lu:luxembourg
    lv:latvia ma:morocco mt:malta mx:mexico my:malaysia ng:nigeria nl:netherlands nl:the_netherlands
    no:norway nz:new_zealand pe:peru ph:philippines pk:pakistan pl:poland pt:portugal qa:qatar
    ro:romania rs:serbia sa:saudi_arabia se:sweden sg:singapore si:slovenia sk:slovakia th:thailand
    tr:turkey tr:türkiye tw:taiwan ua:ukraine us:united_states us:united_states_of_america
    vn:vietnam za:south_africa
    """)
